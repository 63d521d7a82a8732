"""The smallest engine that does everything: references wait in this process, and threads of it run the bodies.

What a process that ends leaves is sent again: its epoch dies with it, so the scan for lost messages finds its rows.
"""

import asyncio
import contextvars
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction
from queue import SimpleQueue
from typing import Any

from django.db import connections

from tandem import registry
from tandem.configuration import Configuration
from tandem.engines.base import CAPABILITIES, Engine, Reference
from tandem.exceptions import UnknownTask
from tandem.execution.durable import Durable
from tandem.execution.leases import Heartbeat
from tandem.execution.runner import Runner
from tandem.ledger import connection as ledger
from tandem.ledger.hot import claims
from tandem.ledger.identity import process_name
from tandem.ledger.relaying import backlog, brokered

__all__ = ["ToyEngine", "ToyOptions", "ToyWorker"]


@dataclass(frozen=True, kw_only=True)
class ToyOptions:
    """How many bodies run at once."""

    threads: int = 2


class ToyEngine(Engine):
    """Holds references in a queue of this process; the relay drives retries, sleeps and waits."""

    Options = ToyOptions
    process = ("toy", "python -m pytest")
    supports = CAPABILITIES - {"external", "hard_time_limit", "priority"}

    def __init__(self, configuration: Configuration, *, name: str, options: ToyOptions) -> None:
        super().__init__(configuration, name=name, options=options)
        self.sent: SimpleQueue[Reference | None] = SimpleQueue()
        self._epoch = secrets.token_hex(8)

    def epoch(self) -> str | None:
        """This process's life."""
        return self._epoch

    def submit(self, batch: Sequence[Reference]) -> str | None:
        """Put a batch into the queue."""
        for reference in batch:
            self.sent.put(reference)
        return self._epoch

    def find_lost(self, *, lease: float) -> int:
        """Mark due what was sent in another life of this process."""
        queues = [queue for engine, queue in ledger.execute(backlog.queues()) if engine == self.name]
        found = [
            brokered.lost_with_epoch(
                engine=self.name, queue=queue, broker_epoch=self._epoch, lease=lease, after=None, limit=1_000
            )
            for queue in queues
        ]
        return sum(ledger.execute(statement).marked for statement in found)


class ToyWorker:
    """Runs what the engine holds, until `stop`."""

    def __init__(self, engine: ToyEngine) -> None:
        configuration = engine.configuration
        self._engine = engine
        self._name = process_name(engine.name)
        self._lease = configuration.lease_seconds
        self._runner = Runner(
            lease_seconds=configuration.lease_seconds,
            max_result_bytes=configuration.max_result_bytes,
            max_lost_leases=configuration.max_lost_leases,
        )
        active = self._runner.active
        self._heartbeat = Heartbeat(
            worker=self._name,
            kind="toy",
            engine=engine.name,
            queues=(),
            concurrency=engine.options.threads,
            lease_seconds=self._lease,
            leases=active.leases,
            on_lease_lost=active.lose,
            on_cancel_requested=active.cancel,
            overdue=self._runner.expire_overdue,
        )
        self._threads = [threading.Thread(target=self._work) for _ in range(engine.options.threads)]

    def start(self) -> None:
        """Become known in the ledger, then work."""
        self._heartbeat.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Take nothing more, and wait for the bodies."""
        for _ in self._threads:
            self._engine.sent.put(None)
        for thread in self._threads:
            thread.join()
        self._heartbeat.stop()
        ledger.close_threads()

    def _work(self) -> None:
        with asyncio.Runner() as loop:
            while (reference := self._engine.sent.get()) is not None:
                self._run(reference, loop)
        connections.close_all()
        ledger.close()

    def _run(self, reference: Reference, loop: asyncio.Runner) -> Any:
        claiming = claims.claim(id=reference.id, engine=self._engine.name, worker=self._name, lease=self._lease)
        try:
            task = registry.resolve(reference.task)
        except UnknownTask as error:
            return self._runner.refuse(claiming, error)
        if iscoroutinefunction(task.func):
            return loop.run(self._runner.arun(claiming, Durable()), context=contextvars.copy_context())
        return self._runner.run(claiming, Durable())
