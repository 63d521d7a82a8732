"""What Django's tests import in place of Django's own: its two backends on the engine under test, and test cases.

`TANDEM_DJANGO_TASKS` names the engine. Where nothing consumes its queues (`dummy`) a call stays as it was enqueued;
where workers do (`immediate`) the backend waits for the end, which Django's own has by then.
"""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.db import connections
from django.test import SimpleTestCase as DjangoSimpleTestCase
from django.test import TransactionTestCase, override_settings

from tandem import TandemBackend
from tandem.declarations import TaskResult
from tandem.engines.memory import MemoryEngine

__all__ = ["ENGINE", "DummyBackend", "ImmediateBackend", "SimpleTestCase", "TransactionTestCase", "override_settings"]

ENGINE: Final = os.environ.get("TANDEM_DJANGO_TASKS", "stub")
MEMORY: Final = ("stub", "immediate")
_SECONDS: Final = 30.0


def options_of(engine: str) -> dict[str, Any]:
    """`OPTIONS` of a Tandem backend on one engine, whose servers the environment names."""
    if engine in MEMORY:
        return {"ENGINES": {engine: {}}}
    engines = {
        "celery": {"BROKER_URL": os.environ["TANDEM_BROKER_URL"], "KEY_PREFIX": "django-tasks:"},
        "restate": {
            "INGRESS_URL": os.environ["TANDEM_RESTATE_INGRESS_URL"],
            "ADMIN_URL": os.environ["TANDEM_RESTATE_ADMIN_URL"],
            "SERVICE_URL": os.environ["TANDEM_RESTATE_SERVICE_URL"],
            "IDENTITY_KEYS": os.environ["TANDEM_RESTATE_IDENTITY_KEYS"].split(","),
        },
    }
    return {"ENGINES": {engine: engines[engine]}, "LEASE_SECONDS": 3.0}


class _Backend(TandemBackend):
    """Tandem's backend on `engine`; its `options` are what the test's settings say, as Django's tests look at them."""

    engine: str

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, {**params, "OPTIONS": options_of(self.engine)})
        self.options = params.get("OPTIONS", {})


class DummyBackend(_Backend):
    """As Django's: keeps what was enqueued, in order."""

    engine = "stub" if ENGINE == "immediate" else ENGINE

    @property
    def results(self) -> Sequence[TaskResult]:
        """What was enqueued, as it is kept."""
        engine = self.engines[self.engine]
        if isinstance(engine, MemoryEngine):
            return engine.results
        from tandem.ledger.models import Execution  # noqa: PLC0415  # models need the apps loaded

        ids = Execution.objects.order_by("created_at", "id").values_list("id", flat=True)
        return [self.get_result(str(id_)) for id_ in ids]

    def clear(self) -> None:
        """Forget it."""
        engine = self.engines[self.engine]
        if isinstance(engine, MemoryEngine):
            engine.clear()
            return
        from tandem.ledger.models import Execution  # noqa: PLC0415  # as above

        Execution.objects.all().delete()


class ImmediateBackend(_Backend):
    """As Django's: what was enqueued is over when `enqueue` returns. Beside a dummy backend it runs in place."""

    engine = ENGINE if "TANDEM_DJANGO_TASKS_WORKERS" in os.environ else "immediate"

    def enqueue(  # type: ignore[override]  # as Tandem's own
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> TaskResult:
        """Enqueue, and wait for the end."""
        result = super().enqueue(task, args, kwargs)
        if connections["default"].in_atomic_block and ENGINE not in MEMORY:
            return result  # Nobody may see the row before it has committed.
        deadline = time.monotonic() + _SECONDS
        while not result.is_finished:
            if time.monotonic() > deadline:
                raise AssertionError(f"{result.task.module_path} was still {result.phase} after {_SECONDS:g} s.")
            time.sleep(0.02)
            result.refresh()
        return result


class SimpleTestCase(DjangoSimpleTestCase):
    """Django's, but with the database where the engine under test has its ledger there."""

    databases = set() if ENGINE in MEMORY else {"default"}
