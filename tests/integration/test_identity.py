"""One death is one lost lease, and what a pool raises to end its child is none: on real prefork workers."""

import os
import random
import signal
from collections import Counter
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from tandem.engines.celery import executor as process
from tandem.engines.celery.executor import Process
from tandem.engines.celery.prefork import PreforkSupervisor
from tandem.engines.celery.seats import Seats
from tandem.execution.runner import Runner
from tandem.ledger import connection as ledger
from tandem.ledger.models import Event, Execution
from tandem.ledger.rows import Claim
from tandem.ledger.statement import Statement
from tests.celery_work import tasks as hard
from tests.celery_work.stage import Stage, Worker, until

KILLS = 10
MOST_OF_ONE = 2


def nothing_on_its_way() -> bool:
    """Whether PostgreSQL is done with every statement that it was sent."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'"
            " AND pid <> pg_backend_pid()"
        )
        return bool(cursor.fetchone()[0] == 0)


def kill_one(choose: random.Random, kills: set[tuple[Any, int]]) -> bool:
    """Kill a child that holds an execution, for certain: frozen first, so that it cannot end its body meanwhile.

    Answers whether enough were killed.
    """
    hit = Counter(id_ for id_, _ in kills)
    running = [
        row
        for row in Execution.objects.filter(phase="running")
        if (row.pk, row.fence) not in kills and hit[row.pk] < MOST_OF_ONE
    ]
    if not running:
        return len(kills) >= KILLS
    victim = choose.choice(running)
    pid = int(str(victim.worker).rpartition("/")[2].partition("-")[0])
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        until(nothing_on_its_way, what="no statement is on its way")
        row = Execution.objects.get(pk=victim.pk)
        if (row.phase, row.fence, row.worker) == ("running", victim.fence, victim.worker):
            kills.add((row.pk, row.fence))
            os.kill(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGCONT)
    return len(kills) >= KILLS


def test_each_killed_child_costs_its_execution_one_lease_and_no_other(celery: Stage, mark: str) -> None:
    """Celery tells of one death late, and twice: what is told must not take the lease of the living successor."""
    choose, kills = random.Random(13), set[tuple[Any, int]]()
    celery.worker(concurrency=3)
    results = [hard.pause.enqueue(mark, 0.3) for _ in range(12)]
    with celery.relay():
        until(lambda: kill_one(choose, kills), seconds=90, what="enough were killed")
        for result in results:
            celery.reaches(result.id, "succeeded", seconds=60)
    rows = {row.pk: row for row in Execution.objects.all()}
    assert {id_: row.lost_leases for id_, row in rows.items() if row.lost_leases} == Counter(id_ for id_, _ in kills)
    assert all((row.attempts, row.fence) == (row.lost_leases, row.lost_leases + 1) for row in rows.values())
    assert Event.objects.filter(kind="lease lost").count() == len(kills)


def _group(worker: Worker) -> None:
    """As systemd ends a service by default."""
    for pid in (*worker.children(), worker.process.pid):
        os.kill(pid, signal.SIGTERM)


def _quit(worker: Worker) -> None:
    worker.process.send_signal(signal.SIGQUIT)


def _twice(worker: Worker) -> None:
    """A first Ctrl+C lets bodies end; once that is so, a second does not."""
    worker.process.send_signal(signal.SIGINT)
    until(lambda: "Hitting Ctrl+C again" in worker.text, what="the first was heard")
    worker.process.send_signal(signal.SIGINT)


@pytest.mark.parametrize("end", [_group, _quit, _twice], ids=["group", "quit", "twice"])
def test_what_a_pool_raises_to_end_its_child_is_no_failure(celery: Stage, mark: str, end: Any) -> None:
    worker = celery.worker("--grace", "3")
    results = [hard.pause.enqueue(mark, 60.0), hard.pause_async.enqueue(mark, 60.0)]
    until(lambda: len(celery.effects(mark)) == 2, what="both bodies started")
    end(worker)
    worker.process.wait(timeout=60)
    for result in results:
        row = celery.row(result.id)
        assert (row.phase, row.attempts, row.lost_leases, row.errors) == ("queued", 0, 0, []), worker.text
        assert [event.kind for event in Event.objects.filter(execution_id=row.pk)] == ["requeued"]


def test_a_worker_that_is_slow_to_end_after_its_children_lost_none_of_them(
    celery: Stage, mark: str, tmp_path: Path
) -> None:
    """Celery ends them first, and whoever hears of it may take long: only then it says that the worker ends."""
    words = ("-m", "django", "tandem", "worker", "--concurrency", "2", "--grace", "3")
    os.mkfifo(pipe := tmp_path / "pipe")
    worker = celery.spawn(*words, environment={"TANDEM_TEST_PIPE": str(pipe)})
    results = [hard.pause.enqueue(mark, 60.0), hard.pause.enqueue(mark, 60.0)]
    until(lambda: len(celery.effects(mark)) == 2, what="both bodies started")
    _quit(worker)
    until(
        lambda: any(celery.row(result.id).phase != "running" for result in results),
        what="what the first child ran was taken while a receiver holds the worker",
    )
    # For writing too, so that it waits for no reader.
    receiver_may_go_on = os.open(pipe, os.O_RDWR)
    worker.process.wait(timeout=60)
    os.close(receiver_may_go_on)
    rows = [celery.row(result.id) for result in results]
    assert [(row.phase, row.attempts, row.lost_leases) for row in rows] == [("queued", 0, 0)] * 2, worker.text


def test_a_body_that_ends_its_own_process_is_lost_as_often_as_that_is_allowed(celery: Stage, mark: str) -> None:
    """Its child cannot tell who sent the signal; the parent knows that the worker does not end."""
    celery.worker(concurrency=1)
    result = hard.end_its_process.enqueue(mark)
    with celery.relay():
        row = celery.reaches(result.id, "dead", seconds=60)
    assert (row.lost_leases, row.attempts, len(celery.effects(mark))) == (4, 4, 4)
    events = [event.kind for event in Event.objects.filter(execution_id=row.pk)]
    assert events.count("lease lost") == 4
    assert "requeued" not in events


class Interrupted(Runner):
    """Its process is told to end while the answer of its claim is on the way."""

    def run(self, claiming: Statement[Claim | None], _journal: Any) -> Any:
        ledger.execute(claiming)
        ledger.close()
        raise SystemExit


def interrupted_claim(seats: Seats, id_: UUID) -> None:
    """A child's whole life."""
    seat = seats.take()
    runner = Interrupted(lease_seconds=30, max_result_bytes=1000, max_lost_leases=3)
    with pytest.raises(SystemExit):
        Process(runner=runner, worker=seat.worker, seat=seat).execute(id_, asynchronous=False)


def test_a_claim_is_handed_back_whose_answer_never_came(
    celery: Stage, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a whole process group is told to end, under load."""
    monkeypatch.setattr(process, "ends_process", lambda _: True)
    result = hard.pause.enqueue(mark, 0.0)
    seats = Seats("parent")
    child = get_context("fork").Process(target=interrupted_claim, args=(seats, UUID(result.id)))
    child.start()
    child.join()
    assert child.exitcode == 0
    row = celery.row(result.id)
    assert (row.phase, row.fence) == ("running", 1)
    parent = PreforkSupervisor(
        runner=Runner(lease_seconds=30, max_result_bytes=1000, max_lost_leases=3),
        pool=None,
        grace=1.0,
        seats=seats,
        ending=True,
    )
    parent.start()
    parent.stop()
    row = celery.row(result.id)
    assert (row.phase, row.attempts, row.lost_leases) == ("queued", 0, 0)
    assert not seats.held()
    # It warns where it is collected while open.
    seats._file.close()
