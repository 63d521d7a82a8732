"""Real Celery workers: who keeps a lease, who ends it, and what runs beside Tandem's tasks."""

import os
import signal
import time
from typing import Any, NoReturn
from uuid import UUID

import pytest
from celery import Celery
from django.db import connection

from tandem import registry
from tandem.engines.base import Reference
from tandem.engines.celery.app import app_of
from tandem.exceptions import TimeLimitExceeded, UnknownTask
from tandem.ledger import connection as ledger
from tandem.ledger.models import Event, Execution
from tandem.ledger.statement import Statement
from tests.celery_work import tasks as hard
from tests.celery_work.stage import Stage, Worker, until
from tests.work import tasks


def started(celery: Stage, mark: str) -> list[str]:
    return until(lambda: celery.effects(mark), what="the body started")[0]


def lease_left(id_: Any) -> float:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXTRACT(EPOCH FROM lease_expires_at - now())::float8 FROM tandem_execution WHERE id = %s", [id_]
        )
        return float(cursor.fetchone()[0])


@pytest.fixture(params=["prefork", "threads"])
def pool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_both_pools_run_sync_and_async_bodies(celery: Stage, pool: str) -> None:
    worker = celery.worker("--pool", pool)
    results = [
        tasks.add.enqueue(1, right=2),
        tasks.noop_async.enqueue(),
        tasks.fail.enqueue(),
        tasks.leave.enqueue(),
        tasks.elsewhere.enqueue(),
    ]
    phases = ["succeeded", "succeeded", "failed", "failed", "succeeded"]
    for result, phase in zip(results, phases, strict=True):
        row = celery.reaches(result.id, phase)
        assert row.worker == row.worker_ids[0]
        assert f":{worker.process.pid}:" in str(row.worker)
        assert ("/" in str(row.worker)) is (pool == "prefork"), "a child has a name of its own, under its parent's"
    assert celery.row(results[0].id).result == 3


def test_ids_that_are_pushed_twice_run_once(celery: Stage) -> None:
    results = tasks.noop.enqueue_many([((), {})] * 2000)
    again = [
        Reference(id=UUID(result.id), task=result.task.module_path, queue="default", priority=0) for result in results
    ]
    for start in range(0, len(again), 1000):
        celery.engine.submit(again[start : start + 1000])
    celery.worker()
    with celery.broker.client as client:
        until(lambda: client.llen("default:6") == 0, seconds=300, what="the list is drained")
    until(lambda: not Execution.objects.exclude(phase="succeeded").exists(), what="all ended")
    assert Execution.objects.filter(phase="succeeded", fence=1, attempts=0).count() == 2000


def test_what_a_killed_child_ran_is_taken_from_it_at_once(celery: Stage, mark: str) -> None:
    celery.lease = 60.0
    try:
        worker = celery.worker()
    finally:
        celery.lease = 3.0
    result = hard.pause.enqueue(mark, 30.0)
    child = int(started(celery, mark)[0])
    assert child in worker.children()
    os.kill(child, signal.SIGKILL)
    until(lambda: celery.row(result.id).phase == "queued", seconds=5, what="it is taken from the child")
    row = celery.row(result.id)
    assert (row.attempts, row.lost_leases, row.lease_expires_at) == (1, 1, None)
    assert [event.kind for event in Event.objects.filter(execution_id=result.id)] == ["lease lost"]


def test_a_body_that_kills_its_child_runs_again_in_seconds(celery: Stage, mark: str) -> None:
    celery.worker()
    # A new relay takes nothing over for a lease: it need not, where the parent saw the child die.
    with celery.relay():
        result = hard.kill_its_process.enqueue(mark)
        row = celery.reaches(result.id, "succeeded")
    assert (row.attempts, row.lost_leases, row.fence) == (1, 1, 2)
    first, second = celery.effects(mark)
    assert first[0] != second[0]
    assert float(second[1]) - float(first[1]) < celery.lease


def test_a_killed_parent_and_its_children_lose_nothing(celery: Stage, mark: str) -> None:
    doomed = celery.worker()
    results = [tasks.slow_steps.enqueue(mark, 3, 0.5) for _ in range(6)]
    started(celery, mark)
    children = doomed.children()
    doomed.process.kill()
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in children), what="the children died too")  # noqa: PTH110
    celery.worker()
    with celery.relay():
        for result in results:
            celery.reaches(result.id, "succeeded", seconds=60)
    ended = [line[2] for line in celery.effects(mark) if line[2].startswith("end")]
    assert len(ended) == 18, "a finished step never runs again"


def test_a_body_that_holds_the_gil_keeps_its_lease(celery: Stage, mark: str) -> None:
    celery.worker()
    with celery.relay():
        result = hard.hold_the_gil.enqueue(mark, 8)
        started(celery, mark)
        lowest = celery.lease
        while celery.row(result.id).phase == "running":
            lowest = min(lowest, lease_left(result.id) if celery.row(result.id).lease_expires_at else lowest)
            time.sleep(0.1)
        row = celery.reaches(result.id, "succeeded")
    assert (row.fence, row.lost_leases) == (1, 0)
    assert lowest > 0


@pytest.mark.parametrize("task", [hard.two_sleeps, tasks.sleeper_async], ids=["sync", "async"])
def test_a_sleep_suspends_and_is_replayed(celery: Stage, pool: str, mark: str, task: Any) -> None:
    celery.worker("--pool", pool)
    with celery.relay():
        result = task.enqueue(mark) if task is hard.two_sleeps else task.enqueue(mark, 0.5)
        row = celery.reaches(result.id, "succeeded")
    names = [line[2] for line in celery.effects(mark)]
    assert names == (["first", "second", "third"] if task is hard.two_sleeps else ["before", "after"])
    assert (row.attempts, len(row.worker_ids)) == (0, 1)


def test_sleepers_hold_no_worker(celery: Stage, mark: str) -> None:
    celery.worker(concurrency=1)
    sleepers = [tasks.sleeper.enqueue(mark, 600) for _ in range(5)]
    for sleeper in sleepers:
        celery.reaches(sleeper.id, "sleeping")
    celery.reaches(tasks.noop.enqueue().id, "succeeded")


def test_the_soft_limit_fails_the_body_and_spares_the_child(celery: Stage, mark: str) -> None:
    worker = celery.worker()
    children = worker.children()
    results = [tasks.too_long.enqueue(mark), hard.too_long_async.enqueue(mark)]
    for result in results:
        row = celery.reaches(result.id, "failed")
        assert row.errors[-1]["exception_class_path"] == "tandem.exceptions.TimeLimitExceeded"
    assert worker.children() == children
    assert "ended" not in {line[2] for line in celery.effects(mark)}


class _Stranger:
    """A registry without tasks: of a web process or relay that is older than its workers."""

    def resolve(self, name: str) -> NoReturn:
        raise UnknownTask(name)


@pytest.mark.parametrize("sender", [registry, _Stranger()], ids=["knows the limit", "does not"])
def test_the_hard_limit_kills_and_counts_as_a_failure(
    celery: Stage, mark: str, sender: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tandem.engines.celery.message.registry", sender)
    worker = celery.worker()
    with celery.relay():
        result = hard.ignore_the_limit.enqueue(mark)
        row = celery.reaches(result.id, "succeeded")
    assert row.result == "second"
    assert (row.attempts, row.lost_leases) == (1, 0)
    assert row.errors[-1]["exception_class_path"] == "tandem.exceptions.TimeLimitExceeded"
    first, second = (int(line[0]) for line in celery.effects(mark))
    assert second in worker.children()
    assert first not in worker.children()


def test_a_limit_that_cuts_a_statement_short_leaves_a_ledger_to_record_with(celery: Stage) -> None:
    def limit(_number: int, _frame: Any) -> None:
        raise TimeLimitExceeded

    def ask(text: str) -> Any:
        return ledger.execute(Statement("ask", text, {}, lambda rows: rows[0][0]))

    assert ask("SELECT 1") == 1
    before = signal.signal(signal.SIGALRM, limit)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(TimeLimitExceeded):
            ask("SELECT pg_sleep(30)::text")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert ask("SELECT 2") == 2


def test_threads_are_past_their_limit_by_the_heartbeat(celery: Stage, mark: str) -> None:
    celery.worker("--pool", "threads")
    results = [tasks.too_long.enqueue(mark), hard.too_long_async.enqueue(mark)]
    for result in results:
        row = celery.reaches(result.id, "failed")
        assert row.errors[-1]["exception_class_path"] == "tandem.exceptions.TimeLimitExceeded"


def test_a_running_body_is_told_of_a_cancel(celery: Stage, pool: str, mark: str) -> None:
    celery.worker("--pool", pool)
    result = tasks.cancellable.enqueue(mark)
    started(celery, mark)
    assert celery.backend.cancel(result.id) == "requested"
    celery.reaches(result.id, "cancelled")
    assert [line[2] for line in celery.effects(mark)] == ["started", "cancelled"]


def test_a_body_that_ignores_a_cancel_is_killed_after_the_grace_time(celery: Stage, mark: str) -> None:
    worker = celery.worker()
    result = hard.ignore_the_cancel.enqueue(mark)
    child = int(started(celery, mark)[0])
    assert celery.backend.cancel(result.id) == "requested"
    celery.reaches(result.id, "cancelled", seconds=15)
    until(lambda: child not in worker.children(), what="the child is gone")
    celery.reaches(tasks.noop.enqueue().id, "succeeded")


def test_a_body_whose_lease_is_lost_is_killed_after_the_grace_time(celery: Stage, mark: str) -> None:
    worker = celery.worker()
    result = hard.ignore_the_cancel.enqueue(mark)
    child = int(started(celery, mark)[0])
    Execution.objects.filter(pk=result.id).update(worker="another", fence=2, lease_expires_at=None)
    until(lambda: child not in worker.children(), seconds=15, what="the child is gone")
    row = celery.row(result.id)
    assert (row.phase, row.worker) == ("running", "another")


def test_a_cancelled_row_that_is_still_on_the_list_never_runs(celery: Stage, mark: str) -> None:
    result = hard.pause.enqueue(mark, 0.0)
    assert celery.backend.cancel(result.id) == "cancelled"
    celery.worker()
    celery.reaches(tasks.noop.enqueue().id, "succeeded")
    assert celery.effects(mark) == []


def test_a_warm_shutdown_finishes_what_runs_and_hands_back_the_rest(celery: Stage, pool: str, mark: str) -> None:
    worker = celery.worker("--pool", pool, concurrency=1)
    results = [hard.pause.enqueue(mark, 1.0) for _ in range(5)]
    started(celery, mark)
    assert worker.stop() == 0
    phases = sorted(celery.row(result.id).phase for result in results)
    ended = phases.count("succeeded")
    assert phases == ["queued"] * (5 - ended) + ["succeeded"] * ended
    with celery.broker.client as client:
        assert client.llen("default:6") == 5 - ended
        assert not client.exists("tandem:unacked")


def test_what_does_not_end_in_the_grace_time_is_handed_back_and_counts_nothing(
    celery: Stage, pool: str, mark: str
) -> None:
    worker = celery.worker("--pool", pool, "--grace", "0.5", concurrency=1)
    result = hard.pause.enqueue(mark, 60.0)
    started(celery, mark)
    assert worker.stop() == 0
    row = celery.row(result.id)
    assert (row.phase, row.attempts, row.lost_leases, row.lease_expires_at) == ("queued", 0, 0, None)
    (event,) = Event.objects.filter(execution_id=result.id)
    assert event.kind == "requeued"
    assert celery.backend.cancel(result.id) == "cancelled"


def test_a_ledger_that_is_away_for_a_moment_loses_nothing(celery: Stage) -> None:
    celery.worker()
    celery.reaches(tasks.noop.enqueue().id, "succeeded")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    results = [tasks.noop.enqueue() for _ in range(10)]
    with celery.relay():
        for result in results:
            celery.reaches(result.id, "succeeded")


def plain_of(celery: Stage) -> Celery:
    return Celery("theirs", broker=celery.broker.url, set_as_current=False, fixups=[])


def test_a_projects_own_tasks_run_in_tandems_worker_too(celery: Stage, mark: str) -> None:
    celery.worker()
    app = plain_of(celery)
    app.conf.broker_transport_options = {"sep": ":"}
    app.send_task("plain.task", [mark], queue="default")
    until(lambda: celery.effects(mark), what="the plain task ran")
    assert celery.effects(mark)[0][2] == "plain"


def test_a_projects_own_worker_beside_tandems_on_one_broker(celery: Stage, mark: str) -> None:
    """Their default transport options, ours with a separator: neither takes the other's messages."""
    celery.worker()
    theirs = celery.spawn(
        "-m", "celery", "-A", "tests.celery_work.plain_project", "worker", "--pool", "solo", "-l", "info"
    , ready=False)  # fmt: skip
    result = tasks.noop.enqueue()
    plain_of(celery).send_task("plain.task", [mark], queue="celery", priority=3)
    until(lambda: celery.effects(mark), seconds=60, what=theirs.text)
    celery.reaches(result.id, "succeeded")
    assert celery.effects(mark)[0][0] == str(theirs.process.pid)
    assert plain_of(celery).control.ping(timeout=2.0) != []
    assert "Traceback" not in theirs.text


def test_tandem_is_added_to_a_projects_own_app(celery: Stage, mark: str) -> None:
    """`celery -A proj worker` runs both kinds of task, on the app's own lists."""
    worker = celery.spawn(
        "-m", "celery", "-A", "tests.celery_work.project", "worker", "-c", "2", "-Q", "default,celery",
        environment={"TANDEM_TEST_CELERY_APP": "tests.celery_work.project.app"},
    )  # fmt: skip
    code = (
        "import django; django.setup()\n"
        "from tests.work import tasks; from tests.celery_work.tasks import plain\n"
        f"print(tasks.elsewhere.using(queue_name='default').enqueue().id); plain.delay({mark!r})"
    )
    enqueued = celery.spawn(
        "-c", code, ready=False, environment={"TANDEM_TEST_CELERY_APP": "tests.celery_work.project.app"}
    )
    assert enqueued.process.wait(timeout=60) == 0, enqueued.text
    row = celery.reaches(enqueued.text.strip(), "succeeded")
    assert f":{worker.process.pid}:" in str(row.worker)
    until(lambda: celery.effects(mark), what="the plain task ran")


def test_flower_sees_dotted_names_and_ids(celery: Stage) -> None:
    """What Flower reads: task events, and `inspect` by the app's control."""
    worker = celery.worker("--events")
    app = app_of(celery.backend.configuration.celery, celery.backend.configuration.queues)
    registered = until(lambda: app.control.inspect(timeout=1.0).registered(), what="inspect answers")
    (name,) = registered
    assert name.startswith(f"tandem-{worker.process.pid}@")
    assert "tests.work.tasks.add" in registered[name]
    seen: dict[str, dict[str, Any]] = {}
    with app.connection_for_read() as client:
        receiver = app.events.Receiver(
            client, handlers={"task-received": lambda event: seen.setdefault(event["uuid"], event)}
        )
        with receiver.consumer_context() as (listening, _channel, _consumers):
            # Subscribed once the first event, a worker's heartbeat, is there.
            listening.drain_events(timeout=20)
            result = tasks.add.enqueue(1)
            deadline = time.monotonic() + 20
            while result.id not in seen and time.monotonic() < deadline:
                listening.drain_events(timeout=20)
    assert seen[result.id]["name"] == "tests.work.tasks.add"
    asked = celery.spawn("-m", "celery", "-A", "tandem.engines.celery.application", "inspect", "ping", ready=False)
    assert asked.process.wait(timeout=60) == 0, asked.text
    assert "pong" in asked.text


def test_a_tandem_task_cannot_be_sent_past_the_ledger(celery: Stage) -> None:
    worker: Worker = celery.worker("--loglevel", "debug")
    app = plain_of(celery)
    app.conf.broker_transport_options = {"sep": ":"}
    app.send_task("tests.work.tasks.add", [1], queue="default", task_id="no-uuid")
    until(lambda: "was sent by Celery" in worker.text, what="the worker says why")
    celery.reaches(tasks.noop.enqueue().id, "succeeded")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--queues", "emials"), "did you mean 'emails'"),
        (("--concurrency", "0"), "at least 1"),
        (("--queues", ","), "is empty"),
    ],
)
def test_a_worker_that_is_asked_for_nonsense_says_so(celery: Stage, arguments: tuple[str, ...], words: str) -> None:
    worker = celery.spawn("-m", "django", "tandem", "worker", *arguments, ready=False)
    assert worker.process.wait(timeout=60) != 0
    assert words in worker.text


def test_a_worker_without_its_database_says_so(celery: Stage) -> None:
    worker = celery.spawn(
        "-m", "django", "tandem", "worker", ready=False,
        environment={"DATABASE_URL": "postgresql://tandem@127.0.0.1:1/tandem"},
    )  # fmt: skip
    assert worker.process.wait(timeout=60) != 0
    assert "database does not answer" in worker.text
    assert "Traceback" not in worker.text
