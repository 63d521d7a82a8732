"""A call's arguments as the ledger keeps them: JSON text of a bounded size."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.tasks.exceptions import InvalidTask
from django.utils.json import normalize_json

from tandem.task import Task

__all__ = ["InvalidArguments", "encodable", "encoded_arguments"]


class InvalidArguments(InvalidTask, TypeError):
    """Arguments that the ledger cannot keep. A `TypeError` too, which is what Django's own backends raise."""


def _plain(value: object) -> object:
    """What `django.utils.json.normalize_json` makes of what the encoder does not know."""
    return normalize_json(value)


_JSON: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_plain)


def encoded_arguments(task: Task, args: Sequence[Any], kwargs: Mapping[str, Any], *, limit: int) -> str:
    """Encode one call's arguments; raises `InvalidArguments` for what is not JSON, cannot be stored or is too large."""
    try:
        text = _JSON.encode({"args": args, "kwargs": kwargs})
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArguments(
            f"{task.module_path}: arguments must be JSON ({error}). Pass strings, numbers, lists, dictionaries,"
            " and the keys of rows instead of the rows."
        ) from error
    if len(text) > limit:
        raise InvalidArguments(
            f"{task.module_path}: arguments are {len(text):,} bytes of JSON, above the limit of {limit:,}"
            " (OPTIONS['MAX_ARGUMENTS_BYTES']). Store them elsewhere and pass where they are."
        )
    if "\\u0000" in text:
        raise InvalidArguments(f"{task.module_path}: arguments hold a NUL character, which PostgreSQL cannot store.")
    return text


def encodable(value: Any, *, what: str, limit: int) -> Any:
    """Answer `value` as JSON has it; raises `InvalidArguments` naming `what`, as `encoded_arguments` does."""
    try:
        text = _JSON.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArguments(f"{what} must be JSON ({error}).") from error
    if len(text) > limit:
        raise InvalidArguments(f"{what} is {len(text):,} bytes of JSON, above the limit of {limit:,}.")
    if "\\u0000" in text:
        raise InvalidArguments(f"{what} holds a NUL character, which PostgreSQL cannot store.")
    return json.loads(text)
