"""The exporter: how much work each pool of workers has, for the autoscaler (KEDA's `metrics-api` scaler).

`GET /scaling/celery?queues=a,b` counts what those queues hold, by the ledger. `GET /scaling/restate?endpoint=URL`
counts what Restate would send to the deployment registered with that URL: what is pinned to it and, where it is the
latest, what is pinned to none. The answer is `{"work": 12, "queued": 9, "running": 3, "age": 0.4}`: `work` divided by
a pool's concurrency, rounded up, is the number of pods it needs.

Each count is made once, however many ask. Where its source does not answer the last one is given with its `age` in
seconds; after 300 s the answer is 503, so that the autoscaler's fallback acts: an outage never reads as no work.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from tandem.configuration import Configuration
from tandem.exceptions import nearest
from tandem.ledger import connection as ledger
from tandem.ledger.load import Load, load
from tandem.probes.health import Answer, Health, Route
from tandem.probes.loops import Loop, Watch

__all__ = ["KEPT_SECONDS", "Exporter", "Reading"]

KEPT_SECONDS: Final = 300.0

# A row waits for a place (`pending`, `ready`, `backing-off`) or holds one. Those that sleep or wait are `suspended`.
RESTATE_LOAD: Final = """
SELECT deployment.endpoint AS endpoint, invocation.status AS status, count(*) AS n
FROM sys_invocation AS invocation
LEFT JOIN sys_service AS service ON service.name = invocation.target_service_name
JOIN sys_deployment AS deployment
  ON deployment.id = COALESCE(invocation.pinned_deployment_id, service.deployment_id)
WHERE invocation.status IN ('pending', 'ready', 'running', 'backing-off')
GROUP BY deployment.endpoint, invocation.status
"""


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
    """Reads the load of the backend's engines every `interval` seconds, and answers with it."""

    def __init__(self, configuration: Configuration, *, interval: float) -> None:
        self._configuration = configuration
        self._health = Health()
        self._beginning = Loop(name="The first readings", round=self._begin, watch=self._health)
        self._readings: dict[str, Reading] = {}
        if configuration.celery is not None:
            self._readings["celery"] = Reading(name="celery", read=_celery, interval=interval, watch=self._health)
        if configuration.restate is not None:
            self._readings["restate"] = Reading(
                name="restate", read=_restate(configuration), interval=interval, watch=self._health
            )

    def routes(self) -> dict[str, Route]:
        """What is answered, by path."""
        answering = {"celery": self._celery, "restate": self._restate}
        return {**self._health.routes(), **{f"/scaling/{name}": answering[name] for name in self._readings}}

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

    def _celery(self, query: Mapping[str, str]) -> Answer:
        queues = [name.strip() for name in query.get("queues", "").split(",") if name.strip()]
        if not queues:
            return _refused("Name the queues: ?queues=a,b")
        for name in queues:
            if self._configuration.queues and name not in self._configuration.queues:
                known = self._configuration.queues
                return _refused(f"There is no queue {name!r}{nearest(name, known)} Queues: {', '.join(known)}.")
        return self._readings["celery"].of(queues)

    def _restate(self, query: Mapping[str, str]) -> Answer:
        endpoint = query.get("endpoint", "").rstrip("/")
        if not endpoint:
            return _refused("Name the deployment by the URL it was registered with: ?endpoint=http://name:9080")
        return self._readings["restate"].of([endpoint])


def _celery() -> Mapping[str, Load]:
    return ledger.execute(load(engine="celery"))


def _restate(configuration: Configuration) -> Callable[[], Mapping[str, Load]]:
    from tandem.engines.restate.client import RestateClient  # noqa: PLC0415  # an extra of the distribution
    from tandem.engines.restate.messages import Requests  # noqa: PLC0415  # as above

    options = configuration.restate
    assert options is not None  # noqa: S101  # the caller looked
    client, query = RestateClient(options), Requests(options=options).sql(RESTATE_LOAD)

    def read() -> Mapping[str, Load]:
        loads: dict[str, Load] = {}
        for row in client.ask(query):
            running = row["status"] == "running"
            found = Load(running=row["n"]) if running else Load(queued=row["n"])
            endpoint = row["endpoint"].rstrip("/")
            loads[endpoint] = loads.get(endpoint, Load()) + found
        return loads

    return read


def _unavailable(reason: str) -> Answer:
    return Answer(status=HTTPStatus.SERVICE_UNAVAILABLE, body=reason + "\n")


def _refused(reason: str) -> Answer:
    return Answer(status=HTTPStatus.BAD_REQUEST, body=reason + "\n")
