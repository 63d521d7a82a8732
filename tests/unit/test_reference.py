"""docs/reference.md has a line for each thing that the code has, and for nothing else; the things are found in the code."""

import argparse
import ast
import builtins
import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Final

import django.tasks
import pytest

import tandem
from tandem import addresses, exceptions
from tandem.configuration import CeleryOptions, Configuration, RestateOptions
from tandem.declarations import _CALL_OPTIONS, _FIELDS, _NOT_DECORATED, Task
from tandem.embedded.ports import Ports
from tandem.engines.base import CAPABILITIES
from tandem.engines.celery.engine import CeleryEngine
from tandem.engines.restate.engine import RestateEngine
from tandem.ledger.models import Event, Phase
from tandem.management.commands.tandem import Command
from tandem.phases import STATUS_OF_PHASE
from tandem.routing import sources
from tests.unit.environment_reads import ANY, environment_reads

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "reference.md"
CODE: Final = ROOT / "src" / "tandem"
NAMED: Final = re.compile(r"`([^`]+)`")

# Compares each variable that `up` itself gave to its processes.
BY_NO_NAME: Final = {"management/up.py"}


def table(heading: str) -> dict[str, dict[str, str]]:
    """The rows of the tables under a heading, by the name in their first column; each row by its columns' names."""
    text = re.split(rf"^#+ {re.escape(heading)}$", PAGE.read_text(), flags=re.MULTILINE)[1]
    found: dict[str, dict[str, str]] = {}
    columns: list[str] = []
    for line in re.split(r"^#+ ", text, maxsplit=1, flags=re.MULTILINE)[0].splitlines():
        cells = [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")]
        if not line.startswith("|"):
            columns = []
        elif not columns:
            columns = cells
        elif not set(line) <= set("|-"):
            assert len(cells) == len(columns), f"{heading}: {line}"
            (name,) = NAMED.findall(cells[0])
            assert name not in found, f"{heading} has {name} twice"
            assert all(cells[at] for at, column in enumerate(columns) if column.startswith("what it")), line
            found[name] = dict(zip(columns, cells, strict=True))
    return found


def literal(cell: str) -> Any:
    """The Python value that a cell shows."""
    (text,) = NAMED.findall(cell)
    return ast.literal_eval(text)


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else dict(value) if hasattr(value, "keys") else value


def defaults_of(kind: type[Any]) -> dict[str, Any]:
    return {
        item.name.upper(): plain(item.default if item.default_factory is MISSING else item.default_factory())
        for item in fields(kind)
    }


def written(heading: str) -> dict[str, Any]:
    return {name: plain(literal(row["default"])) for name, row in table(heading).items()}


def test_each_setting_has_a_line_with_its_default() -> None:
    # The alias and the queues stand beside OPTIONS, the engines' options below ENGINES, and TANDEM_ROUTES is a variable.
    elsewhere = {"ALIAS", "QUEUES", "CELERY", "RESTATE", "OTHERS", "ENVIRONMENT_ROUTES"}
    known = {name: value for name, value in defaults_of(Configuration).items() if name not in elsewhere}
    read = Configuration.read("default", {}, {})
    known["ENGINES"] = {name: {} for name in read.engines}
    assert written("`OPTIONS`") == known


@pytest.mark.parametrize(("engine", "options"), [("celery", CeleryOptions), ("restate", RestateOptions)])
def test_each_option_of_an_engine_has_a_line_with_its_default(engine: str, options: type[Any]) -> None:
    assert written(f'`ENGINES["{engine}"]`') == defaults_of(options)


def test_durations_and_sizes_have_a_unit() -> None:
    for heading in ("`OPTIONS`", '`ENGINES["celery"]`', '`ENGINES["restate"]`', "`@task` options"):
        for name, row in table(heading).items():
            counted = "DAYS" in name or "BYTES" in name or isinstance(literal(row["default"]), float)
            assert row["unit"] or not counted, f"{heading}: {name} has no unit"


def test_each_key_of_routes_has_a_line() -> None:
    assert set(table("`ROUTES`")) == {*sources._ROUTES, *sources._TASK}


def test_each_variable_that_is_read_has_a_line() -> None:
    found, unnamed = environment_reads(CODE)
    assert unnamed == BY_NO_NAME, "which variables are read there?"
    ports = {f"TANDEM_PORT_{item.name.upper()}" for item in fields(Ports)}
    read = {name for name in found if ANY not in name}
    assert found - read == {f"TANDEM_PORT_{ANY}"}
    assert set(table("Environment variables")) == read | ports


def test_the_variables_have_their_defaults() -> None:
    shown = {name: row["default"].strip("`") for name, row in table("Environment variables").items()}
    known = {f"TANDEM_PORT_{item.name.upper()}": str(item.default) for item in fields(Ports)} | dict(addresses.DEFAULTS)
    assert {name: shown[name] for name in known} == known


def leaves(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str]]]:
    """Each command with its options, those that `--help` shows."""
    # A command's parser is filled when it is used.
    parser.format_help()
    verbs = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in verbs:
        for name, below in action.choices.items():
            yield from leaves(below, (*words, name))
    if not verbs:
        options = {
            option
            for action in parser._actions
            if action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction)
            for option in action.option_strings
        }
        yield " ".join(words), options


def test_each_command_has_a_line_with_its_options() -> None:
    shown = {name: set(NAMED.findall(row["options"])) for name, row in table("Commands").items()}
    assert shown == dict(leaves(Command().create_parser("manage.py", "tandem")))


def test_each_option_of_a_task_has_a_line_with_its_default() -> None:
    decorator = inspect.signature(django.tasks.task).parameters
    own = {item.name: item.default for item in fields(Task)}
    names = [name for name in _FIELDS if name not in _NOT_DECORATED]
    known = {name: plain(decorator[name].default if name in decorator else own[name]) for name in names}
    assert written("`@task` options") == known


def test_each_option_of_a_call_has_a_line() -> None:
    assert set(table("`.using` options")) == set(_CALL_OPTIONS)


def test_each_capability_has_a_line_that_says_which_engine_has_it() -> None:
    shown = {name: (row["Celery"], row["Restate"]) for name, row in table("Capabilities").items()}
    engines = (CeleryEngine, RestateEngine)
    assert shown == {
        name: tuple("yes" if name in engine.supports else "no" for engine in engines) for name in CAPABILITIES
    }


def test_each_phase_has_a_line_with_its_status() -> None:
    shown = {name: literal_name(row["status"]) for name, row in table("Phases").items()}
    assert shown == {phase: STATUS_OF_PHASE[phase].name for phase in Phase.values}


def literal_name(cell: str) -> str:
    (name,) = NAMED.findall(cell)
    return str(name)


def kinds() -> Iterator[str]:
    """The kinds of events that statements write: each by `note(..., kind=...)`, in whatever f-string it stands."""
    for path in sorted(CODE.rglob("*.py")):
        text = path.read_text()
        if path.name != "events.py":
            assert "INSERT INTO tandem_event" not in text, f"{path} writes events past note()"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "note":
                for keyword in node.keywords:
                    if keyword.arg == "kind":
                        assert isinstance(keyword.value, ast.Constant), f"{path}:{node.lineno}: of what kind?"
                        yield str(keyword.value.value)


def test_each_kind_of_event_has_a_line() -> None:
    assert set(table("Events")) == set(kinds())
    longest = Event._meta.get_field("kind").max_length
    assert longest is not None
    assert all(len(kind) <= longest for kind in kinds())


def test_each_public_name_has_a_line() -> None:
    raised = set(table("Exceptions"))
    assert set(table("Public names")) == set(tandem.__all__) - raised
    # As the page says of them.
    assert raised - set(tandem.__all__) == {"OrderChanged"}


def test_each_exception_has_a_line() -> None:
    known = {name for name in exceptions.__all__ if isinstance(getattr(exceptions, name), type)}
    assert set(table("Exceptions")) == known
    others = {name for name in known if not issubclass(getattr(exceptions, name), tandem.TandemError)}
    assert others == {"AttemptOver"}
    assert set(table("Others that you may meet")) == set(exception_classes()) - known


def exception_classes() -> set[str]:
    """Every class of an exception in the code that has a public name, whatever module it is in."""
    bases = {
        node.name: {base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in node.bases}
        for path in CODE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    raised = {
        name for name, value in vars(builtins).items() if inspect.isclass(value) and issubclass(value, BaseException)
    }
    while more := {name for name, above in bases.items() if above & raised} - raised:
        raised |= more
    return {name for name in raised & set(bases) if not name.startswith("_")}


def test_each_name_of_addresses_has_a_line() -> None:
    assert set(table("Addresses")) == set(addresses.__all__)
