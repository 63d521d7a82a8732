"""Parents hear of children that were ended by somebody else, well before the relay's own look at who waits."""

import os
import signal
from typing import Any, Final

import httpx
import pytest
from django.db.models.functions import Now

from tandem.ledger.models import Execution
from tandem.ledger.suspension.waits import RECHECK_SECONDS
from tests.celery_work import tasks as hard
from tests.celery_work.stage import Stage
from tests.integration.waiting import finished, until
from tests.work import tasks

SOON: Final = RECHECK_SECONDS / 2


@pytest.mark.usefixtures("workers")
def test_a_parent_hears_of_children_that_the_runtime_cancelled(mark: str, addresses: Any) -> None:
    parent = tasks.parent_of_waiters.using(engine="restate").enqueue(mark)
    children = Execution.objects.filter(parent=parent.id)
    until(lambda: children.filter(phase="waiting").count() == 2, "the children wait")
    for child in children:
        answer = httpx.patch(f"{addresses['TANDEM_RESTATE_ADMIN_URL']}/invocations/{child.invocation}/cancel")
        assert answer.status_code == 202
    finished(parent, patience=SOON)
    assert parent.phase == "failed"
    assert parent.errors[-1].exception_class_path == "tandem.exceptions.ChildFailed"
    assert {(child.phase, child.cancelled_by) for child in children.all()} == {("cancelled", "restate")}


def test_a_parent_hears_of_a_child_that_was_killed_for_its_cancel(celery: Stage, mark: str) -> None:
    celery.worker()
    with celery.relay():
        parent = hard.parent_of_the_deaf.enqueue(mark)
        until(lambda: celery.effects(mark), "the child has started")
        [child] = Execution.objects.filter(parent=parent.id)
        celery.reaches(parent.id, "waiting")
        assert celery.backend.cancel(str(child.id)) == "requested"
        row = celery.reaches(parent.id, "failed", seconds=SOON)
    assert row.errors[-1]["exception_class_path"] == "tandem.exceptions.ChildFailed"


def test_a_parent_hears_of_a_child_whose_process_died_after_its_cancel(celery: Stage, mark: str) -> None:
    worker = celery.worker()
    with celery.relay():
        parent = hard.parent_of_the_deaf.enqueue(mark)
        pid = int(until(lambda: celery.effects(mark), "the child has started")[0][0])
        celery.reaches(parent.id, "waiting")
        Execution.objects.filter(parent=parent.id).update(cancel_requested_at=Now(), cancelled_by="anna")
        os.kill(pid, signal.SIGKILL)
        row = celery.reaches(parent.id, "failed", seconds=SOON)
    assert worker.process.poll() is None
    assert row.errors[-1]["exception_class_path"] == "tandem.exceptions.ChildFailed"
