"""`manage.py tandem` as an operator meets it."""

import re
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tandem import RouteError
from tandem.declarations import TaskResult
from tandem.ledger.models import Execution, Override
from tests.integration.waiting import finished
from tests.work import tasks

type Run = Callable[..., str]

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def tandem(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command and answer what it printed."""

    def run(*arguments: str) -> str:
        capsys.readouterr()
        call_command("tandem", *arguments)
        return capsys.readouterr().out

    return run


@pytest.fixture
def owner() -> str:
    """Marks a test's own executions."""
    return uuid.uuid4().hex


@pytest.fixture(autouse=True)
def _no_overrides(database: None) -> Iterator[None]:
    Override.objects.all().delete()
    tasks.noop.get_backend().router.rules(fresh=True)
    yield
    Override.objects.all().delete()
    tasks.noop.get_backend().router.rules(fresh=True)


def later(owner: str) -> TaskResult:
    """An execution that does not run during the test."""
    return tasks.noop.using(run_after=timezone.now() + timedelta(hours=1), owner=owner).enqueue(1)


def test_list_and_show(tandem: Run, owner: str) -> None:
    result = later(owner)
    listed = tandem("list", "--owner", owner)
    assert result.id in listed
    assert "deferred" in listed
    shown = tandem("show", result.id)
    for word in (result.id, "tests.work.tasks.noop", "deferred", "celery (default)", '{"args": [1], "kwargs": {}}'):
        assert word in shown
    assert tandem("list", "--owner", owner, "--phase", "failed") == "No execution matches.\n"


def test_wrong_words_are_named(tandem: Run) -> None:
    with pytest.raises(CommandError, match="--phase 'runing' does not exist; did you mean 'running'"):
        tandem("list", "--phase", "runing")
    with pytest.raises(CommandError, match="'3 days' is no age"):
        tandem("list", "--since", "3 days")
    with pytest.raises(CommandError, match="No execution 'nonsense' in the ledger"):
        tandem("show", "nonsense")
    with pytest.raises(CommandError, match="No execution"):
        tandem("cancel", str(uuid.uuid4()))
    with pytest.raises(CommandError, match="Name executions by id, or choose them by filters"):
        tandem("retry")


def test_cancel_and_retry(tandem: Run, owner: str) -> None:
    result = later(owner)
    assert "cancelled" in tandem("cancel", result.id)
    assert "was over already" in tandem("cancel", result.id)
    assert "1 execution(s) would be retried" in tandem("retry", "--owner", owner)
    result.refresh()
    assert result.phase == "cancelled"
    assert "1 execution(s) are queued again" in tandem("retry", "--owner", owner, "--yes")
    result.refresh()
    assert result.phase != "cancelled"
    with pytest.raises(CommandError, match="can be retried"):
        tandem("retry", later(owner).id)


def test_routes_move_new_work_and_back(tandem: Run, owner: str) -> None:
    name = "tests.work.tasks.noop"
    assert later(owner).engine == "celery"
    assert "pin rule" in tandem("routes", "set", name, "restate", "--by", "anna")
    moved = later(owner)
    assert (moved.engine, moved.reason) == ("restate", f"pin rule {name} (override by anna)")
    table = tandem("routes", "list")
    assert name in table
    assert "anna" in table
    assert "restate" in tandem("routes", "explain", name)
    tandem("routes", "set", name, "restate:0", "--by", "anna")
    assert later(owner).engine == "celery"
    tandem("routes", "unset", name)
    assert later(owner).reason == "default"
    with pytest.raises(CommandError, match="No override"):
        tandem("routes", "unset", name)


def test_a_kill_switch_turns_new_work_away_and_holds_what_is_pinned(
    tandem: Run, owner: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "No new execution goes to celery" in tandem("routes", "kill", "celery", "--by", "anna", "--reason", "fire")
    assert later(owner).engine == "restate"
    held = tasks.noop.using(engine="celery", owner=owner).enqueue()
    assert (held.phase, held.engine) == ("held", "celery")
    assert "kill switch on celery" in held.reason
    with pytest.raises(CommandError, match=r"problem\(s\)"):
        tandem("check")
    assert re.search(
        r"\d+ execution\(s\) are held by the kill switch on celery. Take it off by", capsys.readouterr().out
    )
    assert "celery takes new executions again" in tandem("routes", "kill", "celery", "--off")
    assert later(owner).engine == "celery"
    held.cancel()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("set", "tests.work.tasks.nop", "restate"), "matches no registered task; did you mean"),
        (("set", "tests.work.tasks.noop", "restat"), "did you mean 'restate'"),
        (("set", "tests.work.tasks.noop", "restate:101"), "percent is '101'"),
        (("set", "default", "restate:50"), "takes an engine and no percentage"),
        (("kill", "celry"), "did you mean 'celery'"),
        (("explain", "tests.work.tasks.nop"), "did you mean 'tests.work.tasks.noop'"),
    ],
)
def test_a_rule_with_a_typo_is_refused(tandem: Run, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises((CommandError, RouteError), match=message):
        tandem("routes", *arguments)
    assert not Override.objects.exists()


@pytest.mark.parametrize("days", ["-1", "nan", "1e9"])
def test_prune_takes_no_days_that_are_none(tandem: Run, days: str) -> None:
    with pytest.raises(CommandError, match=r"--days is .*, but must be from 0 to 1,000,000 days\."):
        tandem("prune", f"--days={days}")


def test_prune(tandem: Run, owner: str) -> None:
    result = later(owner)
    result.cancel()
    past = timezone.now() - timedelta(days=90_000)
    Execution.objects.filter(pk=result.id).update(created_at=past, finished_at=past)
    assert tandem("prune", "--days", "89000").startswith("1 execution(s)")
    assert not Execution.objects.filter(pk=result.id).exists()


@pytest.mark.usefixtures("workers")
def test_check_is_content_when_all_is_there(tandem: Run) -> None:
    finished(tasks.noop.enqueue())
    assert tandem("check").startswith("All is well")


@pytest.mark.usefixtures("workers")
def test_show_has_the_steps(tandem: Run) -> None:
    result = finished(tasks.steps.enqueue(uuid.uuid4().hex))
    shown = tandem("show", result.id)
    for word in ("same name", "same name#1", "same name#2", "step-3", "3 of 3 step 3"):
        assert word in shown


def smoked() -> list[str]:
    return [row.phase for row in Execution.objects.filter(task="tandem.management.smoke_task.answer")]


def test_smoke_runs_a_task_on_each_engine_and_leaves_nothing(tandem: Run, workers: object) -> None:
    said = tandem("smoke")
    assert "celery, queue 'default': it ran on " in said
    assert "restate: it ran on " in said
    assert not smoked()


def test_smoke_says_what_became_of_what_does_not_run(tandem: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    tandem("routes", "kill", "restate")
    # It gets to nobody.
    monkeypatch.setattr(tasks.noop.get_backend().engines["celery"], "submit", lambda _: None)
    with pytest.raises(CommandError) as failed:
        tandem("smoke", "--queues", "other", "--within", "0")
    first, second = str(failed.value).splitlines()
    assert re.match(
        r"celery, queue 'other': queued after 0 s; execution \S+ (No process of celery|Processes that)", first
    )
    assert second.startswith("restate: held (kill switch on restate")
    assert "`tandem routes kill restate --off`" in second
    assert smoked() == ["cancelled", "cancelled"]
    with pytest.raises(CommandError, match=r"--engines names 'celary'.*did you mean 'celery'"):
        tandem("smoke", "--engines", "celary")
    with pytest.raises(CommandError, match=r"--queues names 'nobodys'"):
        tandem("smoke", "--queues", "nobodys")
    Execution.objects.filter(task="tandem.management.smoke_task.answer").delete()
