"""Restate as an engine: sends references through its ingress, asks what became of them, cancels them."""

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from uuid import UUID

from tandem.configuration import Configuration, RestateOptions
from tandem.engines.base import CAPABILITIES, Engine, Reference
from tandem.engines.breaker import Breaker
from tandem.engines.restate.client import RestateClient
from tandem.engines.restate.load import LOAD, by_deployment
from tandem.engines.restate.messages import Query, Requests, RestateRefused, State
from tandem.engines.restate.reconcile import Reconciler
from tandem.engines.restate.registration import unregistered
from tandem.engines.restate.targets import NAME, Target, any_task, problems, target_of
from tandem.exceptions import BrokerUnavailable, UnknownTask
from tandem.ledger import connection as ledger
from tandem.ledger.operating.load import Load
from tandem.ledger.relaying import runtime
from tandem.ledger.suspension.wakes import Waiter
from tandem.registry import registered_tasks

__all__ = ["RestateEngine"]

logger = logging.getLogger("tandem.restate")

_CALLER_SECONDS: Final = 2.0
_THREADS: Final = 8
_WITHOUT_ADMIN: Final = "Sends go on; what is cancelled, lost or paused there is seen to when it is back."
_REFUSED_SECONDS: Final = 5.0
_NOT_FOUND: Final = 404
_SERVER_ERROR: Final = 500


class _Connections:
    """The connections of one process: a fork gets its own."""

    def __init__(self, options: RestateOptions) -> None:
        self.pid = os.getpid()
        self.client = RestateClient(options)
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="tandem-restate")

    def close(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.client.close()


class RestateEngine(Engine):
    """Sends to Restate. It has no queues and no priorities: those of a call are kept on the row, and mean nothing here."""

    name = NAME
    supports = CAPABILITIES - {"hard_time_limit", "priority", "queues"}
    # It drives its own retries and sleeps; only what is to be sent anew is due for the relay.
    due_phases = ("queued", "deferred")
    resumes = True
    holds_waiting = True
    push_size = 256
    process = ("service", "manage.py tandem service")

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.options = configuration.restate or RestateOptions()
        self._breaker = Breaker(seconds=self.options.breaker_seconds)
        # Another server: an admin API that is away keeps no send from the ingress, which keeps no word of it from the log.
        self._admin_breaker = Breaker(seconds=self.options.breaker_seconds, meanwhile=_WITHOUT_ADMIN)
        self._lock = threading.Lock()
        self._made: _Connections | None = None
        self._reconciler = Reconciler(requests=Requests(options=self.options), ask=self._ask, inspect=self.inspect)

    def submit(self, batch: Sequence[Reference]) -> str | None:
        """Send references; to send one again is harmless.

        Raises `BrokerUnavailable` where Restate is down, or was less than `breaker_seconds` ago. A task without a
        handler of its own is sent to the one that runs any. What Restate refuses is due again in five seconds, logged,
        and an event of the execution's.
        """
        self._breaker.check()
        refused: dict[Target, tuple[RestateRefused, list[UUID]]] = {}
        pending = [(reference, self._targets(reference)) for reference in batch]
        while pending:
            answers = self._send([(reference, where) for reference, (where, *_) in pending])
            again: list[tuple[Reference, list[Target]]] = []
            for (reference, (where, *others)), answer in zip(pending, answers, strict=True):
                if isinstance(answer, RestateRefused):
                    if answer.status == _NOT_FOUND and others:
                        again.append((reference, others))
                    else:
                        refused.setdefault(where, (answer, []))[1].append(reference.id)
            pending = again
        for where, (refusal, ids) in refused.items():
            why = f"{refusal} {_way_out(refusal, where, self.options)}"
            logger.error("%s", why)
            ledger.execute(runtime.not_sent(ids, seconds=_REFUSED_SECONDS, why=why))
        return None

    def _send(self, known: Sequence[tuple[Reference, Target]]) -> list[str | RestateRefused]:
        # A caller waits for a single send, and may be a web request; batches are the relay's, or asked for as such.
        if len(known) == 1:
            (reference, where), seconds = known[0], min(self.options.request_timeout, _CALLER_SECONDS)
            try:
                return [self._ask(self._requests.send(where, _key(reference), seconds=seconds))]
            except RestateRefused as error:
                return [error]
        try:
            answers = self._connections.client.ask_all(
                [self._requests.send(where, _key(reference)) for reference, where in known]
            )
        except BrokerUnavailable as error:
            self._breaker.failed(error)
            raise
        for answer in answers:
            if isinstance(answer, RestateRefused) and answer.status >= _SERVER_ERROR:
                self._breaker.failed(answer)
                raise BrokerUnavailable(str(answer))
        self._breaker.succeeded()
        return answers

    def cancel(self, batch: Sequence[Reference]) -> None:
        """Kill their invocations, through the admin API: nobody holds them, and the ledger has their ends.

        A cancel would run their handlers once more, which one whose code has changed never survives. What has ended,
        or never arrived, is left as it is. Raises `BrokerUnavailable`.
        """

        def cancel(reference: Reference) -> None:
            try:
                if reference.invocation is not None:
                    self._ask(self._requests.kill(reference.invocation))
                    return
                for where in self._targets(reference):
                    if self._ask(self._requests.kill(self._ask(self._requests.lookup(where, _key(reference))))):
                        return
            except RestateRefused as error:
                logger.warning("%s is over, but its invocation is not: %s", reference.id, error)

        self._each(cancel, batch)

    def wake(self, waiting: Sequence[Waiter]) -> None:
        """Resolve what their invocations wait for; those whose invocation is gone are sent anew.

        Raises `BrokerUnavailable`.
        """
        gone = {lost.id for lost in self._reconciler.lost(waiting)}
        for waiter in waiting:
            if waiter.awakeable is not None and waiter.id not in gone:
                try:
                    self._ask(self._requests.resolve(waiter.awakeable))
                except RestateRefused as error:
                    logger.warning("%s could go on, but its invocation was not woken: %s", waiter.id, error)

    def inspect(self, batch: Sequence[Reference]) -> dict[UUID, State]:
        """Ask what Restate knows of these, `unknown` where it refuses to say; raises `BrokerUnavailable`."""

        def ask(reference: Reference) -> State:
            try:
                if reference.invocation is not None:
                    # No other can claim the row, and it may have been sent under names of before.
                    return self._ask(self._requests.state_of(reference.invocation))
                found = State(kind="absent")
                for where in self._targets(reference):
                    state = self._ask(self._requests.state(where, _key(reference)))
                    # Of two places that it may have been sent to, the one where it lives says what became of it.
                    if state.kind == "alive":
                        return state
                    found = state if found.kind == "absent" else found
            except RestateRefused as error:
                logger.warning("Restate does not say what became of %s: %s", reference.id, error)
                return State(kind="unknown", detail=str(error))
            return found

        return {reference.id: state for reference, state in zip(batch, self._each(ask, batch), strict=True)}

    def find_lost(self, *, lease: float) -> int:
        """Put right what Restate no longer has, at most 200 rows a round; raises `BrokerUnavailable`."""
        return self._reconciler.run(lease)

    def load(self) -> Mapping[str, Load]:
        """Ask how much work each deployment has; raises `BrokerUnavailable`."""
        return by_deployment(self._ask(self._requests.sql(LOAD)))

    def pool(self, query: Mapping[str, str]) -> Sequence[str]:
        """Which deployment a question of the autoscaler's names, by the URL it was registered with."""
        endpoint = query.get("endpoint", "").rstrip("/")
        if not endpoint:
            raise ValueError("Name the deployment by the URL it was registered with: ?endpoint=http://name:9080")
        return [endpoint]

    def place(self, task: str) -> str:
        """Name the service and handler of a task, with the release's prefix."""
        try:
            return str(target_of(task, self.options.prefix))
        except UnknownTask:
            return str(any_task(self.options.prefix))

    def problems(self) -> list[str]:
        """Say which tasks' names keep them from being served."""
        return list(problems(registered_tasks()))

    def check(self) -> list[str]:
        """Ask the ingress, the admin API and the registered services what is wrong, and say what to do."""
        found: list[str] = []
        for name, query in (("INGRESS_URL", self._requests.health()), ("ADMIN_URL", self._requests.version())):
            try:
                self._client.ask(query)
            except BrokerUnavailable as error:
                found.append(str(error))
            except RestateRefused as error:
                found.append(f"{error} Is it Restate's? Else correct ENGINES['restate'][{name!r}].")
        if not found:
            found.extend(unregistered(self._client.ask(self._requests.services()), self.options))
        return found

    def close(self) -> None:
        """Close connections; the next call opens others."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None and made.pid == os.getpid():
            made.close()

    def _targets(self, reference: Reference) -> list[Target]:
        """Where a reference may be: at its task's own handler, where this process knows it; else at the one for any."""
        anything = any_task(self.options.prefix)
        try:
            return [target_of(reference.task, self.options.prefix), anything]
        except UnknownTask:
            return [anything]

    def _ask[T](self, query: Query[T]) -> T:
        # One gateway may have both, one of them below the other's path: the longer one is meant.
        both = ((self.options.ingress_url, self._breaker), (self.options.admin_url, self._admin_breaker))
        _, breaker = max(both, key=lambda each: len(each[0]) if query.url.startswith(each[0].rstrip("/") + "/") else -1)
        breaker.check()
        try:
            answer = self._client.ask(query)
        except BrokerUnavailable as error:
            breaker.failed(error)
            raise
        except RestateRefused as error:
            if error.status >= _SERVER_ERROR:
                breaker.failed(error)
                raise BrokerUnavailable(str(error)) from error
            breaker.succeeded()
            raise
        breaker.succeeded()
        return answer

    def _each[T](self, call: Callable[[Reference], T], batch: Sequence[Reference]) -> list[T]:
        if len(batch) <= 1:
            return [call(reference) for reference in batch]
        return list(self._connections.threads.map(call, batch))

    @property
    def _requests(self) -> Requests:
        return Requests(options=self.options)

    @property
    def _client(self) -> RestateClient:
        return self._connections.client

    @property
    def _connections(self) -> _Connections:
        made = self._made
        if made is None or made.pid != os.getpid():
            with self._lock:
                made = self._made
                if made is None or made.pid != os.getpid():
                    made = self._made = _Connections(self.options)
        return made


def _key(reference: Reference) -> str:
    return f"{reference.id}.{reference.dispatch_number}"


def _way_out(error: RestateRefused, where: Target, options: RestateOptions) -> str:
    if error.status == _NOT_FOUND:
        return (
            f"It does not know {where}: start `manage.py tandem service --register`, or register"
            f" {options.service_url}. The relay tries again every {_REFUSED_SECONDS:.0f} s."
        )
    return f"The relay tries again every {_REFUSED_SECONDS:.0f} s."
