"""The exporter: how much work each pool of workers has, for the autoscaler (KEDA's `metrics-api` scaler).

`GET /scaling/ENGINE?queues=a,b` counts what those queues hold, by the ledger, unless the engine counts by itself what
its pools have (`Engine.load`). The answer is `{"work": 12, "queued": 9, "running": 3, "age": 0.4}`: `work` divided by
a pool's concurrency, rounded up, is the number of pods it needs.

Each count is made once, however many ask. Where its source does not answer the last one is given with its `age` in
seconds; after 300 s the answer is 503, so that the autoscaler's fallback acts: an outage never reads as no work.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Final

from tandem.engines.base import Engine
from tandem.engines.memory import MemoryEngine
from tandem.ledger import connection as ledger
from tandem.ledger.operating.load import Load
from tandem.probes.health import Answer, Health, Route
from tandem.probes.loops import Loop, Watch

__all__ = ["KEPT_SECONDS", "Exporter", "Reading"]

KEPT_SECONDS: Final = 300.0


@dataclass(kw_only=True)
class Reading:
    """One source's last answer, read again every `interval` seconds by a loop of its own."""

    name: str
    read: Callable[[], Mapping[str, Load]]
    interval: float
    watch: Watch = field(default_factory=Watch)
    clock: Callable[[], float] = time.monotonic
    loop: Loop = field(init=False)
    _loads: Mapping[str, Load] | None = None
    _at: float = 0.0

    def __post_init__(self) -> None:
        self.loop = Loop(
            name=f"Reading the load of {self.name}",
            round=self.once,
            pause=self.interval,
            # Until then it can still answer.
            patience=KEPT_SECONDS,
            watch=self.watch,
            last=ledger.close,
        )

    def once(self) -> float:
        """Read once, and answer the seconds until the next; where it raises, the last answer is kept."""
        started = self.clock()
        loads = self.read()
        # As of when it was asked: an answer that took long is that old. The time first: who reads in between must not
        # take the first load for one of long ago.
        self._at = started
        self._loads = loads
        return self.interval

    @property
    def answered(self) -> bool:
        """Whether there is an answer."""
        return self._loads is not None

    def of(self, keys: Sequence[str]) -> Answer:
        """The load of some keys together."""
        if self._loads is None:
            return _unavailable(f"The load of {self.name} was not read yet.")
        age = self.clock() - self._at
        if age > KEPT_SECONDS:
            return _unavailable(f"The load of {self.name} was last read {age:.0f} s ago.")
        total = sum((self._loads.get(key, Load()) for key in keys), Load())
        body = {
            "work": total.queued + total.running,
            "queued": total.queued,
            "running": total.running,
            "age": round(age, 3),
        }
        return Answer(body=json.dumps(body) + "\n", kind="application/json")


class Exporter:
    """Reads the load of engines, by name, every `interval` seconds, and answers with it."""

    def __init__(self, engines: Mapping[str, Engine], *, interval: float) -> None:
        # What runs in memory has no work that waits.
        self._engines = {name: engine for name, engine in engines.items() if not isinstance(engine, MemoryEngine)}
        self._health = Health()
        self._beginning = Loop(name="The first readings", round=self._begin, watch=self._health)
        self._readings = {
            name: Reading(name=name, read=engine.load, interval=interval, watch=self._health)
            for name, engine in self._engines.items()
        }

    def routes(self) -> dict[str, Route]:
        """What is answered, by path."""
        return {**self._health.routes(), **{f"/scaling/{name}": partial(self._answer, name) for name in self._engines}}

    def start(self) -> None:
        """Read in the background until `stop`; ready once each source has answered."""
        for loop in self._loops:
            loop.start()

    def stop(self) -> None:
        """End after the current reading."""
        for loop in self._loops:
            loop.stop()

    @property
    def _loops(self) -> list[Loop]:
        return [*(reading.loop for reading in self._readings.values()), self._beginning]

    def _begin(self) -> float:
        if all(reading.answered for reading in self._readings.values()):
            self._health.begin()
            self._beginning.stop()
        return 1.0

    def _answer(self, name: str, query: Mapping[str, str]) -> Answer:
        try:
            keys = self._engines[name].pool(query)
        except ValueError as error:
            return Answer(status=HTTPStatus.BAD_REQUEST, body=f"{error}\n")
        return self._readings[name].of(keys)


def _unavailable(reason: str) -> Answer:
    return Answer(status=HTTPStatus.SERVICE_UNAVAILABLE, body=reason + "\n")
