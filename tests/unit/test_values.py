"""What the ledger can keep, and how the rest is refused: by its name, in plain text, whatever it is."""

import json
import pickle
import traceback
from collections import UserList
from datetime import timedelta
from decimal import Decimal
from typing import Any, NoReturn
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem import values
from tandem.ledger.rows import Error
from tests.any_value import anything
from tests.work.values import Raises, nested

LIMIT = 1_000


class Unreadable(UserList[int]):
    """A sequence, which Django's rule takes for a list, and which cannot be read."""

    def __iter__(self) -> NoReturn:
        raise KeyError("\ud800")


def kind(value: object) -> str:
    """A test's name from values that have none."""
    return type(value).__name__


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("caf\udce9.csv", "'\\udce9' is half of a character"),
        ({"\ud800": 1}, "half of a character"),
        ("a\0b", "a NUL character"),
        ({"a\0b": 1}, "a NUL character"),
        (float("nan"), "not JSON compliant"),
        (10**5_000, "4300 digits"),
        (nested(201), "nested more than 200 levels deep"),
        (nested(20_000), "RecursionError"),
        ("x" * LIMIT, "1,002 bytes, above the limit of 1,000"),
        ("é" * 500, "1,002 bytes"),
        ({1, 2}, "TypeError: Unsupported type"),
        (Unreadable(), "KeyError: '\\ud800'"),
    ],
    ids=kind,
)
def test_what_cannot_be_kept_is_refused_by_name(value: Any, says: str) -> None:
    with pytest.raises(values.InvalidValue, match=r"^It cannot be kept as JSON: ") as caught:
        values.encode(value, what="It", limit=LIMIT)
    assert says in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "value", ["\\u0000", "\\ud800", "[" * 300, '"' * 201, nested(200), "😀é", (1, b"text"), {b"k": ()}]
)
def test_what_only_looks_like_it_is_kept(value: Any) -> None:
    assert json.loads(values.encode(value, what="It", limit=LIMIT)) is not None


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"a":' * 300, b"1e400", b"\xff", b"[1", b'"\\ud800"', b"NaN", b"9" * 5_000]
)
def test_what_a_stranger_sends_is_refused_as_well(body: bytes) -> None:
    with pytest.raises(values.InvalidValue, match=r"^It cannot be kept as JSON: "):
        values.decode(body, what="It", limit=1_000_000)


@pytest.mark.parametrize(
    "value", ["5", float("nan"), float("inf"), -1, 10**400, values.LONGEST + 1, None, [], Raises(OSError())]
)
def test_what_is_no_duration_is_refused(value: Any) -> None:
    with pytest.raises(values.InvalidValue, match=r"^It is .*, but must be"):
        values.seconds(value, what="It")


def test_durations_are_seconds_or_timedeltas() -> None:
    assert [values.seconds(item, what="It") for item in (0, 1.5, timedelta(minutes=1), Decimal(2))] == [0, 1.5, 60, 2]


@pytest.mark.parametrize("value", ["", "a\0", "\ud800", "x" * 11, True, None, 1.5, b"x", 10**5_000], ids=kind)
def test_what_is_no_name_is_refused(value: Any) -> None:
    with pytest.raises(values.InvalidValue, match=r"^It is .*1 to 10 characters"):
        values.name(value, what="It", most=10)


def test_names_are_what_a_primary_key_is() -> None:
    id_ = UUID(int=5)
    assert [values.name(item, what="It", most=40) for item in ("anna", 42, id_)] == ["anna", "42", str(id_)]


@settings(deadline=None)
@given(anything())
def test_whatever_a_value_is_it_is_kept_or_refused_in_plain_text(value: Any) -> None:
    value = pickle.loads(pickle.dumps(value))
    for read in (
        lambda: values.encode(value, what="It", limit=LIMIT),
        lambda: values.seconds(value, what="It"),
        lambda: values.number(value, what="It"),
        lambda: values.name(value, what="It", most=200),
    ):
        refusal = ""
        try:
            read()
        except values.InvalidValue as error:
            refusal = str(error)
        assert refusal == values.plain(refusal)


@given(st.text(st.characters()))
def test_an_error_can_always_be_kept(text: str) -> None:
    kind = type("Kind", (Exception,), {"__module__": text})
    error: BaseException = kind(text)
    error.add_note(text)
    for _ in range(3):
        error = ExceptionGroup(text, [error]) if isinstance(error, Exception) else error
    kept = json.dumps(Error.of(error).as_json(), ensure_ascii=False)
    assert kept == values.plain(kept)


def test_an_error_whose_traceback_cannot_be_made_says_what_it_is() -> None:
    error = SyntaxError("an odd one", ("file", 1, "offset", "text"))  # type: ignore[arg-type]  # the odd part
    with pytest.raises(TypeError):
        traceback.format_exception(error)
    assert Error.of(error).line.startswith("SyntaxError: an odd one")
    assert Error.of(Raises(ValueError())).line == "Raises"
