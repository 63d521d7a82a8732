"""The engines of a configuration, made once for each process."""

import threading
from collections.abc import Mapping

from tandem.configuration import Configuration
from tandem.engines.base import Engine

__all__ = ["engines_of"]

_lock = threading.Lock()
_made: dict[str, tuple[Configuration, dict[str, Engine]]] = {}


def engines_of(configuration: Configuration) -> Mapping[str, Engine]:
    """Return the engines that `configuration` names, in its order; threads share them, and their connections."""
    with _lock:
        made = _made.get(configuration.alias)
        if made is not None and made[0] == configuration:
            return made[1]
        if made is not None:
            for engine in made[1].values():
                engine.close()
        engines = {name: _make(name, configuration) for name in configuration.engines}
        _made[configuration.alias] = (configuration, engines)
        return engines


def _make(name: str, configuration: Configuration) -> Engine:
    # Each engine's libraries are an extra of the distribution: only what is configured is imported.
    match name:
        case "celery":
            from tandem.engines.celery.engine import CeleryEngine  # noqa: PLC0415

            return CeleryEngine(configuration)
        case "restate":
            from tandem.engines.restate.engine import RestateEngine  # noqa: PLC0415

            return RestateEngine(configuration)
        case "stub":
            from tandem.engines.stub import StubEngine  # noqa: PLC0415

            return StubEngine(configuration)
        case _:
            from tandem.engines.immediate import ImmediateEngine  # noqa: PLC0415

            return ImmediateEngine(configuration)
