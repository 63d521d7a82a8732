"""Bodies on Restate: what the runtime does to an attempt reaches the body rightly, and leaves nothing behind."""

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
from django.utils import timezone

from tandem.configuration import RestateOptions
from tandem.declarations import TaskResult
from tandem.embedded.stack import Stack
from tandem.engines.restate.client import RestateClient
from tandem.engines.restate.messages import Requests
from tandem.engines.restate.targets import TRACKER_WRITER
from tandem.engines.restate.tracker import token
from tandem.ledger.models import Event, Execution, PendingCancellation, Step
from tests.integration.waiting import all_finished, finished, in_phase, until
from tests.work import jobs, tasks
from tests.work.effects import record, recorded

pytestmark = pytest.mark.usefixtures("workers")

SLOTS = 4


@pytest.fixture
def options(addresses: Any) -> RestateOptions:
    return RestateOptions(
        ingress_url=addresses["TANDEM_RESTATE_INGRESS_URL"],
        admin_url=addresses["TANDEM_RESTATE_ADMIN_URL"],
        service_url=addresses["TANDEM_RESTATE_SERVICE_URL"],
    )


@pytest.fixture
def admin(options: RestateOptions) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=options.admin_url, timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_left(workers: Stack) -> Iterator[None]:
    """After each test every slot can be had, no body runs, and the process has no more threads than before."""
    yield
    meeting = uuid.uuid4().hex
    results = [tasks.meet.using(engine="restate").enqueue(meeting, SLOTS) for _ in range(SLOTS)]
    assert [finished(result).return_value for result in results] == [SLOTS] * SLOTS
    process = psutil.Process(workers.pids("service")[0])
    # The loop's, its default executor's (6 at most), the bodies' (4 slots, 4 that may be stuck, 1 more), the
    # heartbeat's, the tracker's and one to spare; granian's.
    until(lambda: process.num_threads() <= 1 + 6 + 9 + 3 + 3, f"{process.num_threads()} threads are left")


def names(mark: str) -> list[str]:
    return [line[2] for line in recorded(mark)]


def invocation(result: TaskResult) -> str:
    found = until(
        lambda: Execution.objects.values_list("invocation", flat=True).get(pk=result.id), "no invocation claimed it"
    )
    return str(found)


def status(admin: httpx.Client, found: str) -> str:
    query = {"query": f"SELECT status FROM sys_invocation WHERE id = '{found}'"}
    (row,) = admin.post("/query", json=query, headers={"accept": "application/json"}).json()["rows"]
    return str(row["status"])


def started(mark: str, name: str = "start-0") -> None:
    until(lambda: name in names(mark), f"the body did not get to {name}")


def steps_of(result: TaskResult) -> int:
    return Step.objects.filter(execution_id=result.id).count()


def enqueue(task: Any, *args: Any, **kwargs: Any) -> TaskResult:
    result: TaskResult = task.using(engine="restate").enqueue(*args, **kwargs)
    return result


def test_more_bodies_than_slots_each_run_once(mark: str) -> None:
    results = [enqueue(tasks.works, mark, 0.1) for _ in range(60)]
    all_finished(results)
    assert {result.return_value for result in results} == {"done"}
    assert sorted(names(mark)) == ["end"] * 60 + ["start"] * 60
    assert {result.attempts for result in results} == {1}


@pytest.mark.parametrize("task", [tasks.slow_steps, tasks.slow_steps_async], ids=["sync", "async"])
def test_suspension_redoes_no_finished_step(mark: str, task: Any, suspending: None) -> None:
    """With an inactivity timeout of 0 Restate suspends an attempt at each of its steps."""
    results = [enqueue(task, mark, 3, 0.05) for _ in range(10)]
    all_finished(results)
    assert {result.return_value for result in results} == {3}
    assert len(names(mark)) == 10 * 3 * 2
    rows = Execution.objects.filter(pk__in=[result.id for result in results])
    assert all(row.fence > 1 for row in rows), "nothing was suspended"
    assert {(row.attempts, row.lost_leases, len(row.worker_ids)) for row in rows} == {(0, 0, 1)}


@pytest.fixture
def suspending(admin: httpx.Client) -> Iterator[None]:
    before = admin.get("/services/Work").json()["inactivity_timeout"]
    assert admin.patch("/services/Work", json={"inactivity_timeout": "0s"}).is_success
    yield
    assert admin.patch("/services/Work", json={"inactivity_timeout": before}).is_success


@pytest.mark.parametrize("task", [tasks.cancellable, tasks.cancellable_async], ids=["sync", "async"])
def test_a_cancel_of_the_runtime_reaches_the_body_once(mark: str, task: Any, admin: httpx.Client) -> None:
    result = enqueue(task, mark)
    started(mark, "started")
    assert admin.patch(f"/invocations/{invocation(result)}/cancel").status_code == 202
    assert finished(result).phase == "cancelled"
    assert names(mark) in (["started", "cancelled"], ["started", "cleaned"])


@pytest.mark.parametrize("task", [tasks.sleeper, tasks.sleeper_async], ids=["sync", "async"])
def test_a_cancel_of_the_runtime_ends_a_sleeper(mark: str, task: Any, admin: httpx.Client) -> None:
    result = enqueue(task, mark, 3600)
    in_phase(result, "sleeping")
    assert admin.patch(f"/invocations/{invocation(result)}/cancel").status_code == 202
    assert finished(result).phase == "cancelled"
    assert result.cancelled_by == "restate"
    assert names(mark) == ["before"]


@pytest.mark.parametrize("task", [tasks.slow_steps, tasks.slow_steps_async], ids=["sync", "async"])
def test_a_killed_invocation_is_found_by_the_relay_and_goes_on(mark: str, task: Any, admin: httpx.Client) -> None:
    result = enqueue(task, mark, 3, 0.5)
    started(mark, "start-1")
    assert admin.patch(f"/invocations/{invocation(result)}/kill").is_success
    assert finished(result).return_value == 3
    assert names(mark).count("end-0") == 1
    assert Execution.objects.get(pk=result.id).dispatch_number == 2
    (event,) = Event.objects.filter(execution_id=result.id, kind="reconciled")
    assert "its invocation ended without it" in event.detail


def test_a_paused_invocation_goes_on_and_the_reason_is_recorded(mark: str, admin: httpx.Client) -> None:
    result = enqueue(tasks.approval, mark)
    in_phase(result, "waiting")
    assert admin.patch(f"/invocations/{invocation(result)}/pause").is_success
    events = Event.objects.filter(execution_id=result.id, kind="reconciled")
    until(lambda: events.filter(detail__contains="was paused").exists(), "it is resumed")
    for number in (1, 2):
        result.signal("approved", number)
    assert finished(result).return_value == [1, 2]
    assert names(mark) == ["asked", "answered"]


def test_a_parked_executions_invocation_ends(mark: str, admin: httpx.Client) -> None:
    """Its journal has what the changed code no longer asks for: the runtime would try it again for ever."""
    result = enqueue(tasks.deployed_over, mark)
    in_phase(result, "parked")
    until(lambda: status(admin, invocation(result)) == "completed", "its invocation ends")
    record(f"{mark}-fixed")
    result.retry()
    assert finished(result).return_value == "old"


@pytest.mark.parametrize("task", [tasks.slow_steps, tasks.slow_steps_async], ids=["sync", "async"])
def test_what_ended_without_its_answer_is_not_tried_for_ever(mark: str, task: Any, admin: httpx.Client) -> None:
    """Its process died between the ledger's commit and the answer: the journal has steps, and no body to ask again."""
    result = enqueue(task, mark, 3, 2.0)
    started(mark, "start-1")
    now = timezone.now()
    Execution.objects.filter(pk=result.id).update(
        phase="succeeded", outcome="succeeded", result=3, finished_at=now, lease_expires_at=None
    )
    until(lambda: status(admin, invocation(result)) == "completed", "its invocation ends")
    assert finished(result).return_value == 3
    assert "start-2" not in names(mark)


@pytest.mark.parametrize("task", [tasks.slow_steps, jobs.steady], ids=["its own handler", "the one for any task"])
def test_an_invocation_without_an_execution_is_not_tried_for_ever(mark: str, task: Any, admin: httpx.Client) -> None:
    """As after a prune, or a database that went back to an earlier state."""
    result = enqueue(task, mark, 3, 2.0)
    started(mark, "start-1")
    found = invocation(result)
    Execution.objects.filter(pk=result.id).delete()
    until(lambda: status(admin, found) == "completed", "its invocation ends")
    until(lambda: not PendingCancellation.objects.filter(invocation=found).exists(), "the relay has told Restate")


def test_a_purged_waiter_is_sent_anew_when_it_can_go_on(mark: str, admin: httpx.Client) -> None:
    result = enqueue(tasks.approval, mark)
    in_phase(result, "waiting")
    found = invocation(result)
    assert admin.patch(f"/invocations/{found}/kill").is_success
    until(lambda: admin.patch(f"/invocations/{found}/purge").is_success, "it can be purged")
    for number in (1, 2):
        result.signal("approved", number)
    assert finished(result).return_value == [1, 2]
    assert names(mark) == ["asked", "answered"]
    assert Event.objects.filter(execution_id=result.id, kind="reconciled").exists()


@pytest.mark.parametrize("task", [tasks.swallow, tasks.swallow_async], ids=["sync", "async"])
def test_a_body_that_catches_everything_cannot_outlive_its_attempt(mark: str, task: Any, admin: httpx.Client) -> None:
    result = enqueue(task, mark)
    started(mark, "body")
    until(lambda: steps_of(result) > 2, "no steps")
    assert admin.patch(f"/invocations/{invocation(result)}/kill").is_success
    # The first attempt swallows its end at each call that is left, and none of that counts.
    assert finished(result).return_value == "to the end"
    assert steps_of(result) == 50
    assert names(mark).count("body") == 2
    assert "swallowed" in names(mark)


@pytest.mark.parametrize("task", [tasks.leave, tasks.leave_async, tasks.leave_in_a_step])
def test_sys_exit_is_a_failure_like_any_other(running: Stack, task: Any) -> None:
    before = running.pids("service")[0]
    result = finished(enqueue(task))
    assert result.phase == "failed"
    assert result.errors[0].exception_class is SystemExit
    assert running.pids("service")[0] == before


def test_a_step_that_failed_runs_again_after_a_sleep(mark: str) -> None:
    result = finished(enqueue(tasks.catch_and_sleep, mark))
    assert result.return_value == "after"
    assert names(mark) == ["unreliable", "caught", "unreliable", "caught", "after"]
    assert result.attempts == 1


def test_many_sleeps_in_one_body(mark: str) -> None:
    result = finished(enqueue(tasks.naps, mark, 5, 0.1))
    assert result.return_value == 5
    assert names(mark) == [f"before-{number}" for number in range(5)]
    assert result.attempts == 1


@pytest.mark.parametrize("task", [tasks.too_long, tasks.too_long_async], ids=["sync", "async"])
def test_a_time_limit(mark: str, task: Any) -> None:
    result = finished(enqueue(task, mark))
    assert (result.phase, names(mark)) == ("failed", ["started"])
    assert "TimeLimitExceeded" in result.errors[0].exception_class_path


def killed(stack: Stack, name: str) -> None:
    before = stack.restarts(name)
    stack.kill(name)
    until(lambda: stack.restarts(name) > before and stack.is_ready(name), f"{name} did not come back")


@pytest.mark.parametrize("task", [tasks.slow_steps, tasks.slow_steps_async], ids=["sync", "async"])
def test_a_killed_service_process_loses_no_finished_step(mark: str, task: Any, running: Stack) -> None:
    result = enqueue(task, mark, 4, 0.4)
    started(mark, "start-2")
    killed(running, "service")
    assert finished(result).return_value == 4
    assert [names(mark).count(f"end-{number}") for number in (0, 1, 3)] == [1, 1, 1]
    assert result.attempts == 2


@pytest.mark.parametrize("task", [tasks.slow_steps, tasks.slow_steps_async], ids=["sync", "async"])
def test_a_killed_runtime_loses_no_finished_step(mark: str, task: Any, servers: Stack) -> None:
    result = enqueue(task, mark, 4, 0.4)
    asleep = enqueue(tasks.sleeper, f"{mark}-asleep", 1.0)
    started(mark, "start-1")
    killed(servers, "restate")
    assert finished(result).return_value == 4
    assert names(mark).count("end-0") == 1
    assert finished(asleep).return_value == "after"
    # Its attempt was cut off, and knew it: no lease was lost.
    assert result.attempts == 1


def test_a_plain_body_outlives_the_runtime_and_runs_once(mark: str, servers: Stack) -> None:
    result = enqueue(tasks.works, mark, 4.0)
    started(mark, "start")
    killed(servers, "restate")
    assert finished(result).return_value == "done"
    assert names(mark) == ["start", "end"]
    assert result.attempts == 1


def test_progress_is_mirrored_for_readers_that_are_no_django(mark: str, options: RestateOptions) -> None:
    result = enqueue(tasks.reports, mark)

    def tracked() -> Any:
        url = f"{options.ingress_url}/TaskTracker/{result.id}/get"
        return httpx.post(url, timeout=10, trust_env=False).json()

    said = {"current": 1.0, "total": 2.0, "message": "half way"}
    assert until(tracked, "no progress in the tracker") == said
    other = token(str(uuid.uuid4()))
    writes: list[tuple[str, dict[str, str]]]
    writes = [("set", {}), ("set", {TRACKER_WRITER: other}), ("clear", {TRACKER_WRITER: "x"})]
    for handler, headers in writes:
        url = f"{options.ingress_url}/TaskTracker/{result.id}/{handler}"
        refused = httpx.post(url, json={"current": 99}, headers=headers, timeout=10, trust_env=False)
        assert refused.status_code == 403, refused.text
        assert "Only Tandem writes to TaskTracker" in refused.text
    assert tracked() == said
    record(f"{mark}-go")
    finished(result)
    until(lambda: tracked() is None, "the tracker was not cleared")


def test_a_wiped_reference_is_sent_again(mark: str, options: RestateOptions, admin: httpx.Client) -> None:
    """As if the runtime's volume was lost while the execution slept."""
    result = enqueue(tasks.sleeper, mark, 1.0)
    in_phase(result, "sleeping")
    found = invocation(result)
    assert admin.patch(f"/invocations/{found}/kill").is_success
    client, requests = RestateClient(options), Requests(options=options)
    query = requests.sql(f"select status from sys_invocation where id = '{found}'")  # an id of Restate's
    until(lambda: client.ask(query)[0]["status"] == "completed", "the invocation was not killed")
    assert admin.patch(f"/invocations/{found}/purge").is_success
    client.close()
    assert finished(result).return_value == "after"
    assert names(mark) == ["before", "after"]
