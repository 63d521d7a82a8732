"""Tandem's parts in a Celery worker, by Celery's signals."""

import logging
import os
import threading
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from celery import signals
from celery.bootsteps import StartStopStep
from celery.concurrency import get_implementation
from celery.concurrency.prefork import TaskPool as Prefork
from celery.concurrency.thread import TaskPool as Threads
from celery.worker.consumer import Tasks

from tandem.configuration import Configuration
from tandem.engines.celery.app import AnyExecutionTask, ExecutionTask, options_of
from tandem.engines.celery.executor import Process, ends_process
from tandem.engines.celery.message import HEADER
from tandem.engines.celery.prefork import PreforkSupervisor
from tandem.engines.celery.seats import Seats
from tandem.execution.isolation import tidy_connections
from tandem.execution.leases import ActiveAttempts, Heartbeat
from tandem.execution.runner import Runner
from tandem.ledger import connection as ledger
from tandem.ledger.groups import Groups
from tandem.ledger.identity import process_name
from tandem.probes.health import Health

__all__ = ["connect", "prepare", "process_of"]

logger = logging.getLogger("tandem.celery")


@dataclass(kw_only=True)
class _Worker:
    """One app's worker in this process, or in the parent that this child was forked from."""

    app: Any
    configuration: Configuration
    name: str = field(default_factory=process_name)
    parent_pid: int = field(default_factory=os.getpid)
    grace: float = 25.0
    health: Health = field(default_factory=Health)
    process: Process | None = None
    heartbeat: Heartbeat | None = None
    parent: PreforkSupervisor | None = None
    seats: Seats | None = None
    execute: ledger.Execute = ledger.execute

    def make_runner(self) -> Runner:
        return Runner(
            lease_seconds=self.configuration.lease_seconds,
            max_result_bytes=self.configuration.max_result_bytes,
            max_lost_leases=self.configuration.max_lost_leases,
            interrupts=ends_process,
            execute=self.execute,
        )

    def make_process(self) -> Process:
        """A child takes a name of its own, under its parent's: what it holds when it dies is known by it."""
        seat = None if self.seats is None or os.getpid() == self.parent_pid else self.seats.take()
        worker = self.name if seat is None else seat.worker
        return Process(runner=self.make_runner(), worker=worker, seat=seat)

    def on_init(self, sender: Any, **_: Any) -> None:
        """Take this process's name before it forks."""
        if sender.app is self.app:
            self.name, self.parent_pid = process_name(), os.getpid()
            self.seats = Seats(self.name)
            if issubclass(get_implementation(sender.pool_cls), Threads):
                self.execute = Groups().execute
            self.process = self.make_process()
            signals.task_prerun.connect(_tidy_around_others, weak=False, dispatch_uid="tandem.tidy")

    def on_child(self, **_: Any) -> None:
        """Start anew in a forked child: nothing of the parent's is used."""
        self.process = self.make_process()

    def on_ready(self, sender: Any, **_: Any) -> None:
        """Keep leases from now on, and say that the worker is ready."""
        if sender.app is not self.app:
            return
        pool = sender.pool
        common: dict[str, Any] = {
            "worker": self.name,
            "kind": "worker",
            "engine": "celery",
            "queues": sorted(self.app.amqp.queues.consume_from),
            "concurrency": pool.limit or 1,
            "lease_seconds": self.configuration.lease_seconds,
            "watch": self.health,
        }
        keeper: PreforkSupervisor | ActiveAttempts
        if isinstance(pool, Prefork) and self.seats is not None:
            grace = options_of(self.configuration).grace_seconds
            keeper = self.parent = PreforkSupervisor(
                runner=self.make_runner(), pool=pool, grace=grace, seats=self.seats, watch=self.health
            )
            self.parent.start()
        else:
            process = self.process = self.process or self.make_process()
            keeper = process.runner.active
            common |= {"stuck": process.stuck, "overdue": process.runner.expire_overdue}
        self.heartbeat = Heartbeat(
            leases=keeper.leases, on_lease_lost=keeper.lose, on_cancel_requested=keeper.cancel, **common
        )
        self.heartbeat.start()
        self.health.begin()

    def begin_end(self) -> None:
        """Know that children that end from now on were told to."""
        if self.parent is not None:
            self.parent.ending = True

    def on_shutting_down(self, how: str, **_: Any) -> None:
        """Give bodies until the grace time to end, or none in a cold shutdown; then hand their executions back."""
        if os.getpid() != self.parent_pid or self.heartbeat is None:
            return
        self.begin_end()
        warm = how == "Warm"
        timer = threading.Timer(self.grace if warm else 0.0, self._requeue)
        # Celery sends no `worker_shutdown` at a cold one: the process ends once this is done.
        timer.daemon = warm
        timer.start()

    def _requeue(self) -> None:
        try:
            if self.parent is not None:
                self.parent.requeue_all()
            elif self.process is not None and self.process.requeue_all():
                # Python cannot end a thread: the process goes with what is left of its bodies.
                logging.shutdown()
                os._exit(0)
        except Exception as error:  # noqa: BLE001  # nobody is there to catch it, and the worker is to end all the same
            logger.warning("Executions could not be requeued (%s); their leases run out.", error)
        finally:
            ledger.close()

    def on_shutdown(self, sender: Any, **_: Any) -> None:
        """Requeue what did not end, and stop; Celery itself puts prefetched messages back."""
        if sender.app is not self.app or os.getpid() != self.parent_pid:
            return
        if self.heartbeat is not None:
            self.heartbeat.stop()
        if self.parent is not None:
            self.parent.stop()
            self._requeue()
        ledger.close()


class _Ends(StartStopStep):  # type: ignore[misc]  # Celery ships no types
    """Has the worker know that it ends before Celery ends its children, at a cold shutdown: they are not lost then.

    Celery says so once it has ended them all and told whoever listens, which may take long.
    """

    requires = (Tasks,)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        cancel, worker = parent.cancel_active_requests, _workers[parent.app]

        def cancel_active_requests() -> None:
            worker.begin_end()
            cancel()

        parent.cancel_active_requests = cancel_active_requests


class _UnknownTasks(StartStopStep):  # type: ignore[misc]  # Celery ships no types
    """Has the consumer run Tandem's messages for tasks that it did not register; any other stays Celery's to refuse."""

    requires = (Tasks,)

    def start(self, parent: Any) -> None:
        refuse = parent.on_unknown_task

        def on_unknown_task(body: Any, message: Any, exc: Exception) -> None:
            if not message.headers.pop(HEADER, False):
                refuse(body, message, exc)
                return
            message.headers.update(shadow=message.headers["task"], task=AnyExecutionTask.name)
            parent.task_consumer.on_message(message)

        parent.on_unknown_task = on_unknown_task


_workers: WeakKeyDictionary[Any, _Worker] = WeakKeyDictionary()


def connect(app: Any, configuration: Configuration) -> None:
    """Listen to the signals of a worker that `app` may run; once for each app."""
    if app in _workers:
        return
    worker = _workers[app] = _Worker(app=app, configuration=configuration)
    app.steps["consumer"].update((_UnknownTasks, _Ends))
    signals.worker_shutting_down.connect(worker.on_shutting_down, weak=False)
    signals.worker_init.connect(worker.on_init, weak=False)
    signals.worker_process_init.connect(worker.on_child, weak=False)
    signals.worker_ready.connect(worker.on_ready, weak=False)
    signals.worker_shutdown.connect(worker.on_shutdown, weak=False)


def prepare(app: Any, *, grace: float, health: Health) -> None:
    """Set how long bodies may run on after SIGTERM before their executions are requeued, and who hears of health."""
    _workers[app].grace = grace
    _workers[app].health = health


def process_of(app: Any) -> Process:
    """What runs executions for `app` in this process."""
    worker = _workers[app]
    process = worker.process
    if process is None:
        process = worker.process = worker.make_process()
    if os.getpid() != worker.parent_pid:
        process.take_soft_limits()
    return process


def _tidy_around_others(sender: Any, **_: Any) -> None:
    """Give a plain Celery task sound database connections: Celery itself no longer closes them around each task."""
    if not isinstance(sender, ExecutionTask):
        tidy_connections()
