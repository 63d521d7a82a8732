"""Restate services built from the task registry: one for each Django app, and one for each workflow task.

A process serves its share of them.
"""

from collections.abc import Iterable
from datetime import timedelta
from inspect import getdoc
from typing import Any, Final

import restate
from restate.serde import BytesSerde

from tandem.configuration import RestateOptions
from tandem.declarations import Task
from tandem.engines.restate.anything import AnyHandler
from tandem.engines.restate.executor import ServiceExecutor
from tandem.engines.restate.invocation import Handler
from tandem.engines.restate.share import Share
from tandem.engines.restate.targets import Target, any_task, problems, target
from tandem.engines.restate.tracker import tracker
from tandem.exceptions import ConfigurationError
from tandem.registry import registered_tasks

__all__ = ["INACTIVITY", "RETRY_POLICY", "build_services"]

RETRY_POLICY: Final = restate.InvocationRetryPolicy(
    initial_interval=timedelta(milliseconds=100),
    exponentiation_factor=2.0,
    max_interval=timedelta(seconds=5),
    max_attempts=2_147_483_647,
    on_max_attempts="pause",
)
"""The runtime never gives up: whether a task is retried is the ledger's to say. Unset would mean 70, then pause."""

INACTIVITY: Final = timedelta(seconds=60)
"""How long an attempt may be silent before Restate asks it to suspend. Sleepers hold neither thread nor slot until
then; a shorter time would have bodies with longer steps run from the top after each of them."""

_RETENTION: Final = timedelta(days=1)
_ABORT_MARGIN: Final = 60.0


def build_services(
    process: ServiceExecutor, share: Share
) -> list[restate.Service | restate.Workflow | restate.VirtualObject]:
    """Build a share of the services of every known task (`.using(backend=)` may bring one that was declared under another).

    The rest has the TaskTracker too, and the service of any task. Raises `ConfigurationError` naming two tasks of one
    handler, a name that Restate refuses, or one of the share's that no task has.
    """
    tasks, prefix = registered_tasks(), process.options.prefix
    if found := [*problems(tasks), *share.problems(tasks)]:
        raise ConfigurationError(" ".join(found))
    services: dict[str, restate.Service | restate.Workflow] = {}
    others = AnyHandler(process=process)
    for task in filter(share.has, tasks.values()):
        where = target(task, prefix)
        if where.workflow:
            services[where.service] = _workflow(where, task, others)
            continue
        service = services.get(where.service)
        if service is None:
            service = services[where.service] = restate.Service(
                where.service,
                inactivity_timeout=INACTIVITY,
                journal_retention=_RETENTION,
                idempotency_retention=_RETENTION,
                invocation_retry_policy=RETRY_POLICY,
            )
        if isinstance(service, restate.Service):
            service.handler(where.handler, **_handler_options(task, process.options))(_function(task, others))
    if not share.is_rest:
        return list(services.values())
    return [*services.values(), _any_task(others), tracker(RETRY_POLICY, prefix)]


def _any_task(handler: AnyHandler) -> restate.Service:
    where = any_task(handler.process.options.prefix)
    service = restate.Service(
        where.service,
        description="Runs tasks that have no handler of their own.",
        inactivity_timeout=INACTIVITY,
        journal_retention=_RETENTION,
        idempotency_retention=_RETENTION,
        invocation_retry_policy=RETRY_POLICY,
    )

    async def execute(context: restate.Context, body: bytes) -> bytes:
        return await handler(context, body)

    abort = timedelta(seconds=handler.process.options.longest_step + _ABORT_MARGIN)
    serde = BytesSerde()
    service.handler(where.handler, input_serde=serde, output_serde=serde, abort_timeout=abort)(execute)
    return service


def _workflow(where: Target, task: Task, others: AnyHandler) -> restate.Workflow:
    workflow = restate.Workflow(
        where.service,
        description=getdoc(task.func),
        inactivity_timeout=INACTIVITY,
        journal_retention=_RETENTION,
        invocation_retry_policy=RETRY_POLICY,
    )
    serve = workflow.main(
        where.handler, workflow_retention=_RETENTION, **_handler_options(task, others.process.options)
    )
    serve(_function(task, others))
    return workflow


def _handler_options(task: Task, options: RestateOptions) -> dict[str, Any]:
    longest = max(options.longest_step, task.time_limit or 0.0)
    return {
        "input_serde": BytesSerde(),
        "output_serde": BytesSerde(),
        "abort_timeout": timedelta(seconds=longest + _ABORT_MARGIN),
        "metadata": {"tandem.task": task.module_path, "tandem.external": str(task.external).lower()},
    }


def _function(task: Task, others: AnyHandler) -> Any:
    handler = Handler(task=task, process=others.process, others=others)

    async def serve(context: restate.Context, body: bytes) -> bytes:
        return await handler(context, body)

    serve.__doc__ = getdoc(task.func)
    return serve


def describe(services: Iterable[restate.Service | restate.Workflow | restate.VirtualObject]) -> list[str]:
    """One line for each handler, for people."""
    return [f"{service.name}/{handler}" for service in services for handler in service.handlers]
