"""Tasks that a process did not know when it started: in a module of another name, or of code that comes later."""

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models.functions import Now

from tandem.checks import live_problems
from tandem.embedded.stack import Stack
from tandem.ledger.models import Event, Execution
from tests.integration.waiting import finished, until
from tests.work import jobs, tasks

pytestmark = pytest.mark.usefixtures("workers")

LATE = """
from tandem import task

@task
def job() -> str:
    return "done"
"""


@pytest.mark.parametrize("task", [jobs.job, jobs.job_async, jobs.job_workflow], ids=lambda task: task.name)
def test_a_task_runs_where_its_module_can_be_imported(engine: str, task: Any) -> None:
    result = finished(task.using(engine=engine).enqueue())
    assert (result.phase, result.attempts) == ("succeeded", 1)
    assert result.return_value == "done"


ENQUEUE = """
import django
django.setup()
from tests.work.doubles import noop
print(noop.using(engine="restate").enqueue().id)
"""


def test_a_task_of_another_ones_name_runs_itself_on_restate(addresses: Mapping[str, str]) -> None:
    """Its app's service has a handler of that name, which is the other's. Enqueued elsewhere: here, `check` would say so."""
    environment = {**os.environ, **addresses, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run([sys.executable, "-c", ENQUEUE], env=environment, check=True, capture_output=True, text=True)
    rows = Execution.objects.filter(pk=done.stdout.strip())
    until(rows.exclude(outcome=None).exists, "the task ends")
    row = rows.get()
    assert (row.task, row.phase, row.result, row.attempts) == ("tests.work.doubles.noop", "succeeded", "the other", 0)


@pytest.fixture
def late(mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that only this process has."""
    name = f"late_{mark}"
    (tmp_path / f"{name}.py").write_text(LATE)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_an_execution_whose_code_is_missing_says_so_and_runs_once_it_is_there(
    engine: str, late: str, workers: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    result = import_module(late).job.using(engine=engine).enqueue()
    events = Event.objects.filter(execution_id=result.id, kind="unknown task")
    until(events.exists, "an event says that nobody knows the task")
    event = events.get()
    assert f"{late}.job" in event.detail
    assert "Deploy the code" in event.detail
    row = Execution.objects.get(pk=result.id)
    assert (row.phase, row.attempts) == ("queued", 0)
    assert row.due_at is not None
    problems = " ".join(live_problems(tasks.noop.get_backend()))
    assert f"of {late}.job on {engine} did not run" in problems
    call_command("tandem", "show", result.id)
    assert event.detail in capsys.readouterr().out
    (workers.data / f"{late}.py").write_text(LATE)
    Execution.objects.filter(pk=result.id).update(due_at=Now())
    finished(result)
    assert (result.phase, result.return_value, events.count()) == ("succeeded", "done", 1)
