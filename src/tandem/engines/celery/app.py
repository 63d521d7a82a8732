"""The Celery app: Tandem's own, or the project's with Tandem's tasks added."""

import inspect
import ssl
from functools import cache
from typing import Any, Final, NoReturn
from uuid import UUID

from celery import Celery
from celery import Task as CeleryTask
from celery.exceptions import Ignore, Retry
from django.tasks import DEFAULT_TASK_QUEUE_NAME
from django.utils.module_loading import import_string
from kombu.entity import Exchange, Queue

from tandem import registry
from tandem.configuration import CeleryOptions, Configuration
from tandem.engines.celery.broker import Broker
from tandem.engines.celery.lists import SEPARATOR, STEPS, Lists
from tandem.exceptions import ConfigurationError, UnknownTask
from tandem.registry import registered_tasks

__all__ = [
    "AnyExecutionTask",
    "ExecutionFailed",
    "ExecutionTask",
    "app_of",
    "broker_of",
    "install",
    "is_execution",
    "lists_of",
    "options_of",
]

# Read by Celery's Django fixup, which protects connections across forks but closes them around each task.
_DATABASE_REUSE: Final = 2**62


class ExecutionFailed(Exception):
    """What Celery (its log, its events, Flower) hears of an execution that failed; the ledger has the whole of it."""


class ExecutionTask(CeleryTask):  # type: ignore[misc]  # Celery ships no types
    """A Tandem task under its own dotted name; runs the execution whose id the message has."""

    typing = False
    ignore_result = True
    store_errors_even_if_ignored = False
    acks_late = False
    max_retries = None
    throws = (ExecutionFailed,)
    asynchronous = False

    def run(self, *args: Any, **kwargs: Any) -> str:
        """Run the execution and tell Celery how the attempt ended, in its own terms."""
        from tandem.engines.celery.worker import process_of  # noqa: PLC0415  # a producer has no worker parts

        if args or kwargs or not is_execution(self.request.id):
            raise ExecutionFailed(
                f"{self.name} was sent by Celery. Use its enqueue() or delay(): Tandem's tasks run from a row of the"
                " ledger, and their messages carry nothing but its id."
            )
        id_ = UUID(self.request.id)
        outcome = process_of(self.app).execute(id_, asynchronous=self.asynchronous)
        match outcome.kind:
            case "refused":
                raise Ignore(outcome.error or "There was nothing to claim.")
            case "retrying":
                raise Retry(message=outcome.error, when=outcome.delay)
            case "over":
                raise Retry(message=outcome.error)
            case "failed" | "dead" | "cancelled" | "parked":
                raise ExecutionFailed(f"{outcome.kind}: {outcome.error}")
            case _:
                return outcome.kind

    def apply_async(self, *_args: Any, **_options: Any) -> NoReturn:
        """Refuse: without a row there is nothing to run."""
        raise TypeError(f"{self.name} is a Tandem task: call enqueue() or delay() on the decorated function.")


class AnyExecutionTask(ExecutionTask):
    """Runs what a worker did not register at its start: a task outside the `tasks` modules, or of newer code.

    Its message says the execution's own task in Celery's `shadow`.
    """

    name = "tandem.execute"

    @property
    def asynchronous(self) -> bool:  # type: ignore[override]  # a class attribute where the task is known
        """Whether the body is async; one that cannot be imported has none."""
        try:
            return inspect.iscoroutinefunction(registry.resolve(self.request.shadow).func)
        except UnknownTask:
            return False


def is_execution(text: str | None) -> bool:
    """Whether a Celery task's id can be an execution's."""
    try:
        UUID(text)
    except (ValueError, TypeError, AttributeError):
        return False
    return True


def options_of(configuration: Configuration) -> CeleryOptions:
    """The engine's options; raises `ConfigurationError` where Celery is not among the engines."""
    if configuration.celery is None:
        raise ConfigurationError(
            f"TASKS[{configuration.alias!r}]['OPTIONS']['ENGINES'] has no 'celery'; add it with a BROKER_URL."
        )
    return configuration.celery


class _Own(Celery):  # type: ignore[misc]  # Celery ships no types
    """Tandem's own app: the broker of the `CELERY_BROKER_URL` that Celery looks for first may be another app's."""

    def connection_for_read(self, url: Any = None, **options: Any) -> Any:
        return super().connection_for_read(self.conf["broker_url"], **options)

    def connection_for_write(self, url: Any = None, **options: Any) -> Any:
        return super().connection_for_write(self.conf["broker_url"], **options)


@cache
def app_of(options: CeleryOptions, queues: tuple[str, ...], *, worker: bool = False) -> Any:
    """The Celery app of a configuration: the project's where `APP` names one, else Tandem's.

    A worker's has Celery's Django fixup; a producer's has not, so that it never becomes the project's current app.
    """
    if options.app:
        try:
            app = import_string(options.app)
        except ImportError as error:
            raise ConfigurationError(f"ENGINES['celery']['APP'] is {options.app!r}: {error}.") from error
        if not isinstance(app, Celery):
            raise ConfigurationError(f"ENGINES['celery']['APP'] is {options.app!r}, which is no Celery app.")
        return app
    app = _Own("tandem", set_as_current=worker, autofinalize=True, **({} if worker else {"fixups": []}))
    app.conf.update(
        broker_url=options.broker_url,
        broker_use_ssl=_encryption(options),
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            # Readable names (default, default:3), and nothing shared with another app's messages in this database.
            "sep": SEPARATOR,
            "priority_steps": list(STEPS),
            "queue_order_strategy": "round_robin",
            "global_keyprefix": options.key_prefix,
            "unacked_key": "tandem:unacked",
            "unacked_index_key": "tandem:unacked_index",
            "unacked_mutex_key": "tandem:unacked_mutex",
            # The ledger's lease covers what a killed worker had; two round trips a task to Redis would cover it twice.
            "ack_emulation": False,
            "socket_keepalive": True,
            "socket_connect_timeout": 5,
            **options.broker_transport_options,
        },
        control_exchange="tandem",
        task_default_queue=queues[0] if queues else DEFAULT_TASK_QUEUE_NAME,
        task_default_exchange="tandem",
        task_queues=[Queue(name, Exchange("tandem", type="direct"), routing_key=name) for name in queues] or None,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        # A loaded machine may take longer than Celery's 4 s to bring up a child.
        worker_proc_alive_timeout=30.0,
        enable_utc=True,
        timezone="UTC",
    )
    return app


def _encryption(options: CeleryOptions) -> dict[str, Any]:
    """`broker_use_ssl`; kombu would take any server's certificate where nothing is said of it."""
    if not options.broker_use_ssl and not options.broker_url.startswith("rediss:"):
        return {}
    return {"ssl_cert_reqs": ssl.CERT_REQUIRED, **options.broker_use_ssl}


def lists_of(options: CeleryOptions, queues: tuple[str, ...]) -> Lists:
    """How the app's transport names a queue's lists."""
    transport = app_of(options, queues).conf.broker_transport_options or {}
    return Lists(
        prefix=transport.get("global_keyprefix", ""),
        separator=transport.get("sep", "\x06\x16"),
        steps=tuple(transport.get("priority_steps", STEPS)),
    )


def broker_of(options: CeleryOptions, queues: tuple[str, ...]) -> Broker:
    """The broker that the app's messages are sent to; raises `ConfigurationError` where a worker would not read them."""
    app = app_of(options, queues)
    return Broker.of(
        app,
        app.conf.broker_write_url if options.app else options.broker_url,
        setting=f"The broker_url of {options.app}" if options.app else "ENGINES['celery']['BROKER_URL']",
        connect_timeout=options.connect_timeout,
        socket_timeout=options.socket_timeout,
    )


def install(app: Any, configuration: Configuration) -> None:
    """Register Tandem's tasks in `app`, and its worker parts for when `app` runs a worker."""
    from tandem.engines.celery import worker  # noqa: PLC0415  # a producer has no worker parts

    app.conf.CELERY_DB_REUSE_MAX = _DATABASE_REUSE
    app.register_task(AnyExecutionTask())
    for name, task in registered_tasks().items():
        if isinstance(app.tasks.get(name), ExecutionTask):
            continue
        body = ExecutionTask()
        body.name = name
        body.asynchronous = inspect.iscoroutinefunction(task.func)
        app.register_task(body)
    worker.connect(app, configuration)
