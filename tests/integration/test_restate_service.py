"""The services as Restate and its other clients meet them: names, policies, calls from outside, references, signing."""

import json
import os
import signal
import struct
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.utils import timezone

from tandem.declarations import TaskResult
from tandem.embedded.ports import Ports
from tandem.engines.restate.targets import HEADER
from tandem.ledger import connection as ledger
from tandem.ledger.hot import inserts
from tandem.ledger.identity import new_id
from tandem.ledger.models import Execution
from tandem.ledger.rows import NewExecution
from tests.identity import pem, raw
from tests.integration.waiting import finished, in_phase, until
from tests.work import tasks
from tests.work.effects import recorded

pytestmark = pytest.mark.usefixtures("workers")

ROOT = Path(__file__).resolve().parents[2]
# The id of no execution.
NOBODY = uuid.UUID("e1d3f07c-f229-4296-af74-116fe0e50467")


@pytest.fixture
def ingress(addresses: Mapping[str, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=addresses["TANDEM_RESTATE_INGRESS_URL"], timeout=20, trust_env=False) as client:
        yield client


@pytest.fixture
def admin(addresses: Mapping[str, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=addresses["TANDEM_RESTATE_ADMIN_URL"], timeout=20, trust_env=False) as client:
        yield client


def message(answer: httpx.Response) -> str:
    return str(answer.json()["message"])


def insert(task: Any, *args: Any, **changes: Any) -> Execution:
    """A committed row that nobody was told of."""
    values: dict[str, Any] = {
        "id": new_id(),
        "task": task.module_path,
        "queue": "default",
        "priority": 0,
        "arguments": json.dumps({"args": args, "kwargs": {}}),
        "engine": "restate",
        "reason": "test",
        "pinned": True,
        "phase": "queued",
    }
    new = NewExecution(**(values | changes))
    assert ledger.execute(inserts.insert_one(new)) is not None
    return Execution.objects.get(pk=new.id)


def test_the_runtime_never_gives_up_on_a_handler(admin: httpx.Client) -> None:
    """Unset, the server's 70 attempts would be used up by a rollout, and the invocation paused."""
    for service in ("Work", "WorkWorkflow", "TaskTracker"):
        found = admin.get(f"/services/{service}").json()
        policy = found["retry_policy"]
        assert (policy["max_attempts"], policy["max_interval"]) == (2_147_483_647, "5s")
        # No handler has another.
        assert {handler["retry_policy"]["max_attempts"] for handler in found["handlers"]} == {None}


def test_services_and_handlers_are_named_after_apps_and_tasks(admin: httpx.Client) -> None:
    services = {service["name"]: service for service in admin.get("/services").json()["services"]}
    assert {"Work", "WorkWorkflow", "TaskTracker"} <= set(services)
    assert services["WorkWorkflow"]["ty"] == "Workflow"
    assert [handler["name"] for handler in services["WorkWorkflow"]["handlers"]] == ["workflow"]
    assert {"noop", "greet", "sleeper_async"} <= {handler["name"] for handler in services["Work"]["handlers"]}
    assert "workflow" not in {handler["name"] for handler in services["Work"]["handlers"]}


def test_a_call_from_outside_runs_and_answers(ingress: httpx.Client) -> None:
    answer = ingress.post("/Work/greet", json={"name": "Anna", "polite": True})
    assert (answer.status_code, answer.json()) == (200, "Good day, Anna")
    row = Execution.objects.get(reason="ingress", arguments__kwargs={"name": "Anna", "polite": True})
    assert (row.engine, row.phase, row.task) == ("restate", "succeeded", "tests.work.tasks.greet")


def test_a_caller_with_a_key_of_its_own_gets_the_same_answer(ingress: httpx.Client, mark: str) -> None:
    answers = [
        ingress.post("/Work/greet", json={"name": mark}, headers={"idempotency-key": mark}).json() for _ in range(2)
    ]
    assert answers == [f"Hello {mark}"] * 2
    assert Execution.objects.filter(arguments__kwargs={"name": mark}).count() == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[1]", "must be a JSON object with name, polite, not list"),
        (b"{", "cannot be kept as JSON"),
        (b"{}", "missing a required argument: 'name'"),
        (b'{"name": "x", "color": "red"}', "unexpected keyword argument 'color'"),
        (b'{"name": "\\u0000"}', "a NUL character"),
        (b'{"name": NaN}', "NaN is no JSON"),
        (b'{"name": 1e400}', "not JSON compliant"),
        (b'{"name": ' + b"9" * 5_000 + b"}", "4300 digits"),
        (b'{"name": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "nested more than 200 levels deep"),
        (b'{"name": "\\ud800"}', "half of a character"),
    ],
)
def test_arguments_that_do_not_fit(ingress: httpx.Client, content: bytes, says: str) -> None:
    answer = ingress.post("/Work/greet", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert says in message(answer)


def test_a_failure_says_why(ingress: httpx.Client, mark: str) -> None:
    answer = ingress.post("/Work/refuse_outside", json={"reason": mark})
    assert answer.status_code == 422
    assert mark in message(answer)


def test_a_task_that_is_not_external_refuses_calls(ingress: httpx.Client) -> None:
    answer = ingress.post("/Work/noop", json={})
    assert answer.status_code == 403
    assert "Set @task(external=True)" in message(answer)


@pytest.mark.parametrize("reference", ["nonsense", "1.1", str(NOBODY), f"{NOBODY}.x"])
def test_a_malformed_reference_is_refused(ingress: httpx.Client, reference: str) -> None:
    answer = ingress.post("/Work/greet", json={"name": "x"}, headers={HEADER: reference})
    assert answer.status_code == 400
    assert "must be '<execution id>.<dispatch>'" in message(answer)


def test_a_stale_or_foreign_reference_runs_nothing(ingress: httpx.Client, mark: str) -> None:
    ended = finished(tasks.refuse.using(engine="restate").enqueue(mark))
    waiting = insert(tasks.refuse, mark)
    elsewhere = insert(tasks.refuse, mark, engine="celery", phase="held")
    for handler, reference in (
        ("refuse", f"{ended.id}.1"),
        ("refuse", f"{ended.id}.2"),
        ("refuse", f"{waiting.id}.2"),
        ("refuse", f"{elsewhere.id}.1"),
        ("refuse", f"{uuid.uuid4()}.1"),
        ("noop", f"{waiting.id}.1"),
    ):
        answer = ingress.post(f"/Work/{handler}", json={}, headers={HEADER: reference})
        assert (answer.status_code, answer.json()) == (200, None), (handler, reference)
    assert len(recorded(mark)) == 1
    # The right one is still good.
    answer = ingress.post("/Work/refuse", json={}, headers={HEADER: f"{waiting.id}.1"})
    assert answer.status_code == 422
    assert len(recorded(mark)) == 2


def test_a_retry_by_hand_is_a_new_dispatch(mark: str) -> None:
    """The first one's key keeps answering for a day."""
    result = finished(tasks.refuse.using(engine="restate").enqueue(mark))
    first = Execution.objects.get(pk=result.id)
    result.retry()
    until(lambda: len(recorded(mark)) == 2, "the second dispatch_number did not run")
    finished(result)
    second = Execution.objects.get(pk=result.id)
    assert (first.dispatch_number, second.dispatch_number) == (1, 2)
    assert first.invocation != second.invocation


def test_unsigned_requests_are_refused(addresses: Mapping[str, str]) -> None:
    with httpx.Client(
        base_url=addresses["TANDEM_RESTATE_SERVICE_URL"], http1=False, http2=True, trust_env=False
    ) as client:
        assert client.get("/health").status_code == 200
        assert client.get("/discover").status_code == 401
        assert client.post("/invoke/Work/noop", content=b"").status_code == 401


def test_restates_key_may_be_in_pem(addresses: Mapping[str, str], service: Callable[..., "Service"]) -> None:
    # It is registered, so Restate asked for its services and was let in.
    own = service(TANDEM_RESTATE_IDENTITY_KEYS=pem(raw(addresses["TANDEM_RESTATE_IDENTITY_KEYS"])))
    assert finished(tasks.add.using(engine="restate").enqueue(2, 3)).return_value == 5
    with httpx.Client(base_url=own.url, http1=False, http2=True, trust_env=False) as client:
        assert client.get("/discover").status_code == 401


class Service:
    """A service process of the test's own, as `manage.py tandem service` starts it."""

    def __init__(self, addresses: Mapping[str, str], effects: Path, folder: Path, url: str, *options: str) -> None:
        self.url = url
        self.ready = folder / f"ready-{uuid.uuid4().hex}"
        self.log = folder / f"log-{uuid.uuid4().hex}"
        environment = {
            **os.environ,
            **addresses,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT))),
            "TANDEM_TEST_EFFECTS": str(effects),
            "TANDEM_READY_FILE": str(self.ready),
            "PYTHONUNBUFFERED": "1",
        }
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "django", "tandem", "service", "--service-url", self.url, *options],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_ready(self) -> None:
        until(lambda: self.ready.exists() or self.process.poll() is not None, "the service is not ready")
        assert self.ready.exists(), self.log.read_text()

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


@pytest.fixture(params=["granian", "hypercorn"])
def service(
    request: pytest.FixtureRequest, addresses: Mapping[str, str], effects: Path, tmp_path: Path, admin: httpx.Client
) -> Iterator[Callable[..., Service]]:
    """Starts processes at one URL, registered in the place of the stack's for one test, on each server in turn."""
    url = f"http://127.0.0.1:{Ports.free().service}"
    made: list[Service] = []

    def start(**environment: str) -> Service:
        given = {**addresses, "TANDEM_RESTATE_SERVER": request.param, **environment}
        found = Service(given, effects, tmp_path, url, "--register", "--grace", "3")
        made.append(found)
        found.wait_ready()
        return found

    yield start
    for process in made:
        process.process.kill()
        process.process.wait()
    again = {"uri": addresses["TANDEM_RESTATE_SERVICE_URL"], "force": True}
    assert admin.post("/deployments", json=again).is_success


def test_sigterm_lets_bodies_end_and_hands_sleepers_back(service: Callable[[], Service], mark: str) -> None:
    first = service()
    asleep = tasks.sleeper.using(engine="restate").enqueue(f"{mark}-asleep", 3.0)
    running = tasks.works.using(engine="restate").enqueue(mark, 1.5)
    in_phase(asleep, "sleeping")
    until(lambda: recorded(mark), "the body did not start")
    assert first.end() == 0, first.log.read_text()
    # Before anything else could have run it.
    running.refresh()
    assert running.return_value == "done"
    assert [line[2] for line in recorded(mark)] == ["start", "end"]
    assert "Traceback" not in first.log.read_text(), first.log.read_text()
    service()
    assert finished(asleep).return_value == "after"
    assert (running.attempts, asleep.attempts) == (1, 1)


def test_what_does_not_end_in_time_is_handed_back_and_not_lost(service: Callable[[], Service], mark: str) -> None:
    first = service()
    result: TaskResult = tasks.works.using(engine="restate").enqueue(mark, 9.0)
    until(lambda: recorded(mark), "the body did not start")
    assert first.end() == 0, first.log.read_text()
    assert "requeued" in first.log.read_text()
    service()
    assert finished(result).return_value == "done"
    assert [line[2] for line in recorded(mark)] == ["start", "start", "end"]
    row = Execution.objects.get(pk=result.id)
    assert (row.attempts, row.lost_leases) == (0, 0)


def test_too_many_stuck_threads_end_the_process(service: Callable[[], Service]) -> None:
    """A thread cannot be stopped: a process that has too many of them is started again by its supervisor."""
    process = service()
    results = [tasks.too_long.using(engine="restate").enqueue(uuid.uuid4().hex) for _ in range(5)]
    for result in results:
        assert finished(result).phase == "failed"
    assert process.process.wait(timeout=30) == 1
    assert "stuck threads: this process drains and ends" in process.log.read_text()


def test_an_address_that_is_taken(addresses: Mapping[str, str], effects: Path, tmp_path: Path) -> None:
    taken = addresses["TANDEM_RESTATE_SERVICE_URL"]
    service = Service(addresses, effects, tmp_path, taken)
    assert service.process.wait(timeout=30) == 1
    assert f"Cannot serve on '{taken.removeprefix('http://')}'" in service.log.read_text()


# https://github.com/restatedev/service-protocol: before each message its type, flags and length.
MESSAGE_HEAD = struct.Struct(">HHI")
MESSAGES = {0x0000: "start", 0x0002: "error", 0x0003: "end", 0x0400: "input", 0x0401: "output"}


def framed(kind: str, content: bytes) -> bytes:
    (type_,) = (type_ for type_, name in MESSAGES.items() if name == kind)
    return MESSAGE_HEAD.pack(type_, 0, len(content)) + content


def messages(content: bytes) -> list[tuple[str, bytes]]:
    found = []
    while content:
        type_, _, size = MESSAGE_HEAD.unpack_from(content)
        found.append((MESSAGES[type_], content[MESSAGE_HEAD.size :][:size]))
        content = content[MESSAGE_HEAD.size + size :]
    return found


def field(number: int, content: bytes | int) -> bytes:
    """One field of a protobuf message, all short here."""
    if isinstance(content, int):
        return bytes((*varint(number << 3), content))
    return bytes((*varint(number << 3 | 2), len(content))) + content


def varint(value: int) -> tuple[int, ...]:
    return (value,) if value < 0x80 else (value & 0x7F | 0x80, value >> 7)


def journal(invocation: str, reference: str, *entries: tuple[str, bytes]) -> bytes:
    header = field(1, HEADER.encode()) + field(2, reference.encode())
    return b"".join(
        (
            framed("start", field(1, invocation.encode()) + field(2, invocation.encode()) + field(3, 1 + len(entries))),
            framed("input", field(1, header) + field(14, b"")),
            *(framed(*entry) for entry in entries),
        )
    )


def test_an_answer_that_restate_has_already_is_given_again(
    addresses: Mapping[str, str], effects: Path, tmp_path: Path
) -> None:
    """Restate ended after it recorded the answer, and before it heard that this was the invocation's end."""
    unsigned = {**addresses, "TANDEM_RESTATE_IDENTITY_KEYS": ""}
    service = Service(unsigned, effects, tmp_path, f"http://127.0.0.1:{Ports.free().service}")
    rows = {
        insert(tasks.add, 2, 3): "succeeded",
        insert(tasks.who): "succeeded",
        insert(tasks.refuse, "again"): "failed",
        insert(tasks.greet, "Anna"): "cancelled",
    }
    Execution.objects.filter(task=tasks.greet.module_path, phase="queued").update(cancel_requested_at=timezone.now())
    try:
        service.wait_ready()
        with httpx.Client(base_url=service.url, http1=False, http2=True, trust_env=False) as client:

            def invoke(row: Execution, *entries: tuple[str, bytes]) -> list[tuple[str, bytes]]:
                answer = client.post(
                    f"/invoke/Work/{row.task.rpartition('.')[2]}",
                    content=journal(f"inv_{row.id.hex}", f"{row.id}.1", *entries),
                    headers={"content-type": "application/vnd.restate.invocation.v5"},
                )
                assert answer.status_code == 200, answer.text
                return messages(answer.content)

            for row, phase in rows.items():
                output, end = invoke(row)
                assert (output[0], end) == ("output", ("end", b"")), output
                row.refresh_from_db()
                assert row.phase == phase
                assert invoke(row, output) == [end]
    finally:
        service.process.kill()
        service.process.wait()
