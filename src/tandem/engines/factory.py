"""The engines of a configuration, made once for each process."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from typing import Any, Final

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from tandem.configuration import Configuration, OtherEngine
from tandem.configuration.engines import read_options
from tandem.engines.base import CAPABILITIES, Engine
from tandem.engines.memory import MemoryEngine
from tandem.exceptions import ConfigurationError, nearest
from tandem.phases import STATUS_OF_PHASE

__all__ = ["engines_of", "forget_results"]

_ENGINES: Final = {
    "celery": ("tandem.engines.celery.engine", "CeleryEngine"),
    "restate": ("tandem.engines.restate.engine", "RestateEngine"),
    "stub": ("tandem.engines.stub", "StubEngine"),
    "immediate": ("tandem.engines.immediate", "ImmediateEngine"),
}

# As `tandem_worker` keeps it.
_KIND_CHARACTERS: Final = 20

_lock = threading.Lock()
_made: dict[str, tuple[Configuration, dict[str, Engine]]] = {}


def engines_of(configuration: Configuration) -> Mapping[str, Engine]:
    """Return the engines that `configuration` names, in its order; threads share them, and their connections."""
    with _lock:
        made = _made.get(configuration.alias)
        if made is not None and made[0] == configuration:
            return made[1]
        if made is not None:
            _close(made[1])
        engines = {name: _make(name, configuration) for name in configuration.engines}
        # In memory, a name that is no engine there is another name of the first: it plays that engine's part.
        engines |= {name: engines[configuration.engines[0]] for name in configuration.routable if name not in engines}
        _made[configuration.alias] = (configuration, engines)
        return engines


def _close(engines: Mapping[str, Engine]) -> None:
    for engine in engines.values():
        engine.close()


def _forget(*, setting: str, **_: Any) -> None:
    """Drop every engine where a test changes TASKS, as Django drops its backends: an override begins with no results."""
    if setting == "TASKS":
        with _lock:
            while _made:
                _close(_made.popitem()[1][1])


def forget_results() -> None:
    """Empty the engines that keep results in memory."""
    with _lock:
        for _, engines in _made.values():
            for engine in engines.values():
                if isinstance(engine, MemoryEngine):
                    engine.clear()


setting_changed.connect(_forget, dispatch_uid="tandem.engines")


def _make(name: str, configuration: Configuration) -> Engine:
    if name in configuration.others:
        return _make_other(name, configuration, configuration.others[name])
    # Each engine's libraries are an extra of the distribution: only what is configured is imported.
    module, kind = _ENGINES[name]
    try:
        imported = import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"TASKS[{configuration.alias!r}]['OPTIONS']['ENGINES'] has {name!r}, which needs {error.name}, and that is"
            f" not installed: pip install 'django-tandem[{name}]', or leave the engine out."
        ) from error
    engine: Engine = getattr(imported, kind)(configuration)
    return engine


def _make_other(name: str, configuration: Configuration, other: OtherEngine) -> Engine:
    """Make an engine of somebody else's, with its options read as ours are."""
    where = f"TASKS[{configuration.alias!r}]['OPTIONS']['ENGINES'][{name!r}]"
    try:
        kind = import_string(other.path)
    except ImportError as error:
        raise ConfigurationError(f"{where}['ENGINE'] is {other.path!r}, which cannot be imported: {error}.") from error
    if not (isinstance(kind, type) and issubclass(kind, Engine)):
        raise ConfigurationError(
            f"{where}['ENGINE'] is {other.path!r}, which is no subclass of tandem.engines.base.Engine."
        )
    if wrong := "; ".join(_mistakes(kind)):
        raise ConfigurationError(
            f"{where}['ENGINE'] is {other.path!r}, whose class is not as docs/engines.md says: {wrong}."
        )
    return kind(configuration, name=name, options=read_options(kind.Options, other.options, where))


def _mistakes(kind: type[Engine]) -> Iterator[str]:
    """Say what would fail at the first use of a class, or be taken for something else in silence."""
    if missing := sorted(getattr(kind, "__abstractmethods__", ())):
        yield f"it lacks {', '.join(missing)}()"
    if not is_dataclass(kind.Options):
        yield "Options is no dataclass"
    elif bare := [field.name for field in fields(kind.Options) if field.default is field.default_factory is MISSING]:
        yield f"Options has no default for {', '.join(bare)}"
    for name, given, collection, known in (
        ("supports", kind.supports, frozenset, CAPABILITIES),
        ("due_phases", kind.due_phases, tuple, STATUS_OF_PHASE),
    ):
        if not isinstance(given, collection):
            yield f"{name} is {given!r}, but must be a {collection.__name__}"
            continue
        for item in sorted(set(given) - set(known)):
            yield f"{name} has {item!r}, which there is not{nearest(item, known)}"
    if kind.process is not None and len(kind.process[0]) > _KIND_CHARACTERS:
        yield f"process names the kind {kind.process[0]!r}, but it has at most {_KIND_CHARACTERS} characters"
