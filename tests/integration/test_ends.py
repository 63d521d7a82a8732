"""Ends that come from an unusual place, or late: each is recorded once, and comes out of no runner."""

import asyncio
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async

from tandem import task
from tandem.engines.celery.durable import CeleryDurable
from tandem.exceptions import TimeLimitExceeded
from tandem.execution.attempt import Attempt
from tandem.execution.leases import ActiveAttempts
from tandem.execution.outcome import Outcome
from tandem.execution.runner import Runner
from tandem.ledger.hot import claims
from tandem.ledger.models import Event, Execution
from tandem.ledger.rows import Claim
from tandem.ledger.statement import Statement
from tests.integration.waiting import until
from tests.work import tasks

pytestmark = pytest.mark.usefixtures("database")

FAR: Final = datetime(2999, 1, 1, tzinfo=UTC)


def claiming(called: Any, *args: Any, **changes: Any) -> Statement[Claim | None]:
    """The claim of an execution that no worker sees."""
    id_ = called.using(engine="celery", run_after=FAR).enqueue(*args).id
    Execution.objects.filter(pk=id_).update(phase="queued", **changes)
    return claims.claim(id=UUID(id_), engine="celery", worker="ends", lease=30.0)


def runner(**changes: Any) -> Runner:
    return Runner(lease_seconds=30.0, max_result_bytes=1_000_000, max_lost_leases=2, **changes)


def ended(claim: Statement[Claim | None]) -> Execution:
    return Execution.objects.get(pk=claim.parameters["id"])


class _Leaving(dict[str, int]):
    def items(self) -> Any:
        raise SystemExit(3)


@task
def leave_in_its_result() -> Any:
    return _Leaving(a=1)


@task
async def leave_in_its_result_async() -> Any:
    return _Leaving(a=1)


def test_a_result_that_exits_is_the_bodys_failure() -> None:
    sync, asynchronous = claiming(leave_in_its_result), claiming(leave_in_its_result_async)
    runner().run(sync, CeleryDurable())
    asyncio.run(runner().arun(asynchronous, CeleryDurable()))
    for row in (ended(sync), ended(asynchronous)):
        assert (row.phase, row.errors[-1]["exception_class_path"]) == ("failed", "builtins.SystemExit")


class _Late(ActiveAttempts):
    """The time limit's signal comes just as the body has ended."""

    def remove(self, attempt: Attempt) -> None:
        super().remove(attempt)
        raise TimeLimitExceeded("too long")


def test_a_time_limit_that_is_over_just_as_the_body_ends_is_its_end() -> None:
    claim = claiming(tasks.noop)
    assert runner(active=_Late()).run(claim, CeleryDurable()).kind == "failed"
    assert "TimeLimitExceeded: too long" in ended(claim).errors[-1]["traceback"]


def test_arguments_too_deep_for_python_fail_at_once() -> None:
    deep: Any = []
    for _ in range(3_000):
        deep = [deep]
    claim = claiming(tasks.noop, arguments={"args": [deep], "kwargs": {}})
    assert runner().run(claim, CeleryDurable()).kind == "failed"
    assert "RecursionError" in ended(claim).errors[-1]["traceback"]


@pytest.mark.parametrize("code", ['raise RuntimeError("cannot read caf\\udce9")', "raise SystemExit(2)"])
def test_a_module_that_cannot_be_imported_says_so(
    code: str, mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"broken_{mark}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    claim = claiming(tasks.noop, task=f"broken_{mark}.job")
    assert runner().run(claim, CeleryDurable()).kind == "refused"
    row = ended(claim)
    assert row.phase == "queued"
    assert "Deploy the code" in Event.objects.get(execution_id=row.id, kind="unknown task").detail
    # What waits for its code is a problem that `check` would name in other tests.
    row.delete()


_busy, _returned = threading.Event(), threading.Event()


@task
async def leave_its_thread_busy() -> str:
    left = asyncio.ensure_future(sync_to_async(_busy.wait)())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(_returned.set)
    return "left" if not left.done() else "nothing left"


@pytest.mark.parametrize("told", ["to go on", "that its lease is lost"])
def test_an_async_body_keeps_its_lease_until_its_thread_is_free(told: str) -> None:
    _busy.clear()
    _returned.clear()
    run, claim, outcomes = runner(), claiming(leave_its_thread_busy), list[Outcome]()
    body = threading.Thread(target=lambda: outcomes.append(asyncio.run(run.arun(claim, CeleryDurable()))))
    body.start()
    try:
        until(_returned.is_set, "the body has ended")
        [lease] = run.active.leases()
        if told != "to go on":
            run.active.lose(lease)
            until(lambda: not len(run.active), "nothing waits for the thread")
    finally:
        _busy.set()
        body.join()
        # Once its lease is over, a worker would run it, whose thread nobody frees.
        ended(claim).delete()
    assert outcomes[0].kind == ("succeeded" if told == "to go on" else "over")
