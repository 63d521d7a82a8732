"""Two processes that share a release's services, beside another release on the same Restate; and moving work between them.

The release here has the prefix `shop` and its services in two processes; the tests' own platform has no prefix. Both
use one ledger, whose relay knows no prefix: what it asks of these executions is what it asks after a prefix was moved.
"""

import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone

from tandem.configuration import Configuration
from tandem.declarations import TaskResult
from tandem.embedded.ports import Ports
from tandem.engines.base import Reference
from tandem.engines.restate.engine import RestateEngine
from tandem.engines.restate.load import LOAD
from tandem.ledger.models import Execution
from tests.integration.test_restate_service import Service, insert
from tests.integration.waiting import finished, until
from tests.work import jobs, tasks
from tests.work.effects import record, recorded

pytestmark = pytest.mark.usefixtures("workers")

type Start = Callable[..., Service]


@pytest.fixture(scope="module")
def start(
    running: object, addresses: Mapping[str, str], effects: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Start]:
    """Starts processes of the release, each registered at a URL of its own."""
    made: list[Service] = []

    def start(*options: str) -> Service:
        url = f"http://127.0.0.1:{Ports.free().service}"
        environment = {**addresses, "TANDEM_RESTATE_PREFIX": "shop"}
        folder = tmp_path_factory.mktemp("shares")
        made.append(Service(environment, effects, folder, url, "--register", "--grace", "3", *options))
        return made[-1]

    yield start
    urls = {service.url for service in made}
    with httpx.Client(base_url=addresses["TANDEM_RESTATE_ADMIN_URL"], timeout=20, trust_env=False) as admin:
        for deployment in admin.get("/deployments").json()["deployments"]:
            if deployment["uri"].rstrip("/") in urls:
                assert admin.delete(f"/deployments/{deployment['id']}?force=true").is_success
    for service in made:
        service.process.kill()
        service.process.wait()


@pytest.fixture(scope="module")
def flows(start: Start) -> Service:
    """Takes the workflow."""
    return start("--take", "WorkWorkflow")


@pytest.fixture(scope="module")
def rest(start: Start, flows: Service) -> Service:
    """Takes the rest."""
    service = start("--except", "WorkWorkflow")
    flows.wait_ready()
    service.wait_ready()
    return service


@pytest.fixture(scope="module")
def mover(start: Start, rest: Service) -> Service:
    """Takes from the rest what it served so far; asked for where that is to happen."""
    service = start("--take", "Work")
    service.wait_ready()
    return service


@pytest.fixture
def shop(rest: Service) -> Iterator[RestateEngine]:
    """How the release's own processes send."""
    configuration = Configuration.read("default", settings.TASKS["default"])
    assert configuration.restate is not None
    made = RestateEngine(replace(configuration, restate=replace(configuration.restate, prefix="shop")))
    yield made
    made.close()


@pytest.fixture
def unprefixed(database: None) -> Iterator[RestateEngine]:
    made = RestateEngine(Configuration.read("default", settings.TASKS["default"]))
    yield made
    made.close()


def reference(row: Execution) -> Reference:
    row.refresh_from_db()
    return Reference(id=row.id, task=row.task, queue=row.queue, priority=0, invocation=row.invocation)


def sent(shop: RestateEngine, task: Any, *arguments: Any) -> Execution:
    row = insert(task, *arguments)
    shop.submit([reference(row)])
    return row


def ran_in(row: Execution, service: Service) -> bool:
    row.refresh_from_db()
    return f":{service.process.pid}:" in str(row.worker)


def over(row: Execution) -> Execution:
    finished(result_of(row))
    row.refresh_from_db()
    return row


def result_of(row: Execution) -> TaskResult:
    found = tasks.noop.get_backend().get_result(str(row.id))
    assert isinstance(found, TaskResult)
    return found


def served(addresses: Mapping[str, str]) -> dict[str, str]:
    """Where each service's new calls go."""
    with httpx.Client(base_url=addresses["TANDEM_RESTATE_ADMIN_URL"], timeout=20, trust_env=False) as admin:
        uris = {item["id"]: item["uri"].rstrip("/") for item in admin.get("/deployments").json()["deployments"]}
        return {item["name"]: uris[item["deployment_id"]] for item in admin.get("/services").json()["services"]}


def test_each_process_serves_its_share_and_the_other_release_keeps_its_names(
    shop: RestateEngine, flows: Service, rest: Service, addresses: Mapping[str, str], mark: str
) -> None:
    found = served(addresses)
    assert {name for name, url in found.items() if url == flows.url} == {"shop.WorkWorkflow"}
    once = {"shop.TaskTracker", "shop.TandemTasks", "shop.Work"}
    assert once <= {name for name, url in found.items() if url == rest.url}
    theirs = addresses["TANDEM_RESTATE_SERVICE_URL"]
    assert {found[name] for name in ("Work", "WorkWorkflow", "TaskTracker", "TandemTasks")} == {theirs}
    rows = {
        sent(shop, tasks.workflow, mark): flows,
        sent(shop, tasks.who): rest,
        # It has no handler, in no process: the one that takes the rest runs it.
        sent(shop, jobs.job): rest,
    }
    for row, service in rows.items():
        assert over(row).phase == "succeeded"
        assert ran_in(row, service), (row.task, row.worker)
    beside = finished(tasks.who.using(engine="restate").enqueue())
    row = Execution.objects.get(pk=beside.id)
    assert not ran_in(row, flows)
    assert not ran_in(row, rest)
    assert shop.check() == []


def load(addresses: Mapping[str, str]) -> dict[str, tuple[str, int]]:
    """What the exporter reads of each URL."""
    with httpx.Client(base_url=addresses["TANDEM_RESTATE_ADMIN_URL"], timeout=20, trust_env=False) as admin:
        answer = admin.post("/query", json={"query": LOAD}, headers={"accept": "application/json"}).json()
    return {row["endpoint"].rstrip("/"): (row["status"], row["n"]) for row in answer["rows"]}


def test_the_work_of_each_process_is_its_own(
    shop: RestateEngine, flows: Service, rest: Service, addresses: Mapping[str, str], mark: str
) -> None:
    """What the autoscaler asks for, by the URL that a process is registered with."""
    row = sent(shop, tasks.reports, mark)
    until(lambda: load(addresses).get(rest.url) == ("running", 1), "the body does not count as its process's work")
    assert flows.url not in load(addresses)
    record(f"{mark}-go")
    assert over(row).phase == "succeeded"


def test_an_app_that_moves_takes_new_work_and_leaves_what_began(
    shop: RestateEngine, rest: Service, request: pytest.FixtureRequest, addresses: Mapping[str, str], mark: str
) -> None:
    began = sent(shop, tasks.reports, mark)
    until(lambda: ran_in(began, rest), "the body did not start")
    asleep = sent(shop, tasks.sleeper, mark, 2.0)
    until(lambda: recorded(mark), "the sleeper did not start")
    mover = request.getfixturevalue("mover")
    assert served(addresses)["shop.Work"] == mover.url
    new = sent(shop, tasks.who)
    assert over(new).phase == "succeeded"
    assert ran_in(new, mover)
    record(f"{mark}-go")
    for row in (began, asleep):
        assert over(row).phase == "succeeded"
        assert (row.attempts, row.dispatch_number) == (0, 1)
        assert ran_in(row, rest)


def test_a_prefix_that_moves_leaves_what_began_and_sends_what_did_not(
    shop: RestateEngine, unprefixed: RestateEngine, mark: str
) -> None:
    """Sent with the prefix `shop`, looked at without it, as after a change of it."""
    asleep = sent(shop, tasks.sleeper, mark, 3600)
    until(lambda: Execution.objects.filter(pk=asleep.id, phase="sleeping").exists(), "it does not sleep")
    rows = Execution.objects.filter(pk=asleep.id)
    past = timezone.now() - timedelta(hours=1)
    rows.update(due_at=past, sent_at=past)
    assert unprefixed.inspect([reference(asleep)])[asleep.id].kind == "alive"
    unprefixed.find_lost(lease=3.0)
    asleep.refresh_from_db()
    assert (asleep.phase, asleep.dispatch_number) == ("sleeping", 1)
    assert asleep.sent_at is not None
    assert asleep.sent_at > past
    assert result_of(asleep).cancel() == "cancelled"


def test_what_an_old_prefix_had_not_begun_runs_once(shop: RestateEngine, mover: Service, mark: str) -> None:
    """Its services do not answer: the relay finds nothing under the new names, and sends it there."""
    mover.process.send_signal(signal.SIGSTOP)
    row = sent(shop, tasks.refuse, mark)
    assert over(row).phase == "failed"
    mover.process.send_signal(signal.SIGCONT)
    # The invocation of before comes too late, and runs nothing.
    before = replace(reference(row), invocation=None)
    until(lambda: shop.inspect([before])[row.id].kind == "ended", "the invocation of before does not end")
    assert len(recorded(mark)) == 1


def test_names_that_no_code_knows_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("tandem", "require", "services", "--take", "Work", "--take", "WorkWorkflow")
    with pytest.raises(CommandError, match=r"service 'Wrok'; did you mean 'Work'\?"):
        call_command("tandem", "require", "services", "--except", "Wrok")
    with pytest.raises(CommandError, match="--take names all that is served"):
        call_command("tandem", "require", "services", "--take", "Work", "--except", "WorkWorkflow")
    assert capsys.readouterr().out == ""


def test_a_prefix_that_the_settings_do_not_hear_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_RESTATE_PREFIX", "shop")
    with pytest.raises(CommandError, match=r"\['PREFIX'\] is '', but TANDEM_RESTATE_PREFIX is 'shop'"):
        call_command("tandem", "require", "services")


def test_explain_and_show_name_the_place(workers: object, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("tandem", "routes", "explain", tasks.noop.module_path)
    assert "On restate it is Work/noop." in capsys.readouterr().out
    row = finished(tasks.noop.using(engine="restate").enqueue())
    call_command("tandem", "show", row.id)
    assert "place      Work/noop inv_" in capsys.readouterr().out
