"""Which service and handler a task becomes, and the names that cannot be."""

from collections.abc import Iterator
from typing import Any

import pytest

from tandem import task
from tandem.configuration import RestateOptions
from tandem.declarations import Task
from tandem.engines.restate.client import _request
from tandem.engines.restate.messages import Answer, Requests, _state
from tandem.engines.restate.service import RETRY_POLICY
from tandem.engines.restate.share import Share
from tandem.engines.restate.targets import HEADER, Target, any_task, problems, target
from tandem.engines.restate.tracker import tracker
from tests.work import tasks


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Tasks made here are nobody else's."""
    before = set(Task.known)
    yield
    for name in set(Task.known) - before:
        del Task.known[name]


def first() -> None:
    """A function of this module, which no app contains."""


def _1st() -> None:
    """A name that Restate takes."""


def __refused() -> None:
    """A name that Restate refuses."""


def named(function: Any, **options: Any) -> dict[str, Task]:
    made = task(**options)(function)
    return {made.module_path: made}


def test_the_app_names_the_service() -> None:
    assert target(tasks.noop, "") == Target(service="Work", handler="noop")


def test_a_module_outside_every_app_counts_for_its_package() -> None:
    assert str(target(task(first), "")) == "tests/first"


def test_a_workflow_is_a_service_of_its_own() -> None:
    assert target(tasks.workflow, "") == Target(service="WorkWorkflow", handler="workflow", workflow=True)
    assert str(target(task(workflow=True)(first), "")) == "tests.first/first"


def test_a_releases_prefix_comes_before_every_name() -> None:
    assert str(target(tasks.noop, "shop")) == "shop.Work/noop"
    assert str(target(tasks.workflow, "shop")) == "shop.WorkWorkflow/workflow"
    assert str(any_task("shop")) == "shop.TandemTasks/execute"
    tracked = Requests(options=RestateOptions(prefix="shop")).track("id", "clear", "token")
    assert tracked.url.endswith("/restate/send/shop.TaskTracker/id/clear")
    assert tracker(RETRY_POLICY, "shop").name == "shop.TaskTracker"


def test_a_share_is_what_it_takes_or_what_others_leave() -> None:
    takes = Share(takes=frozenset({"WorkWorkflow"}))
    rest = Share(others=frozenset({"WorkWorkflow"}))
    both = {"a": tasks.noop, "b": tasks.workflow}
    assert [(takes.has(each), rest.has(each)) for each in both.values()] == [(False, True), (True, False)]
    assert [*takes.problems(both), *rest.problems(both)] == []
    (found,) = Share(takes=frozenset({"work"})).problems(both)
    assert found.startswith("No task of this code belongs to a Restate service 'work'; did you mean 'Work'?")
    assert found.endswith("Services: Work, WorkWorkflow.")


def test_two_tasks_of_one_handler() -> None:
    (found,) = problems({"a.noop": tasks.noop, "b.noop": tasks.noop})
    assert found.startswith("a.noop and b.noop are both Work/noop on Restate.")


def test_two_workflows_of_one_name() -> None:
    (found,) = problems({"a": tasks.workflow} | named(first, workflow="WorkWorkflow"))
    assert "a and tests.unit.test_restate_targets.first are both WorkWorkflow on Restate" in found


def test_a_workflow_named_as_a_service() -> None:
    (found,) = problems({"a.noop": tasks.noop} | named(first, workflow="Work"))
    assert "a.noop and tests.unit.test_restate_targets.first both make the Restate service 'Work'" in found


def test_the_trackers_name_is_taken() -> None:
    (found,) = problems(named(first, workflow="TaskTracker"))
    assert "Tandem's own virtual object" in found


def test_names_that_restate_refuses() -> None:
    assert list(problems(named(_1st))) == []
    (found,) = problems(named(__refused))
    assert "Rename the function" in found
    (found,) = problems(named(first, workflow="no spaces"))
    assert "'no spaces', which Restate refuses as a name" in found


REQUESTS = Requests(options=RestateOptions(ingress_url="http://restate:8080/", admin_url="http://restate:9070"))


def test_a_send_names_its_execution_and_nothing_of_its_caller() -> None:
    query = REQUESTS.send(Target(service="Work", handler="noop"), "id.1")
    first, *lines = _request(query, "restate:8080").decode().partition("\r\n\r\n")[0].split("\r\n")
    assert first == "POST /restate/send/Work/noop HTTP/1.1"
    headers = dict(line.split(": ") for line in lines)
    assert set(headers) == {"host", "content-length", "content-type", "idempotency-key", HEADER}
    assert headers["idempotency-key"] == headers[HEADER] == "id.1"
    assert headers["host"] == "restate:8080"


def test_a_workflow_has_its_key_in_the_path() -> None:
    """The ingress answers 400 for an idempotency key on a workflow."""
    query = REQUESTS.send(Target(service="Flow", handler="run", workflow=True), "a/b?é.1")
    assert query.url == "http://restate:8080/restate/send/Flow/a%2Fb%3F%C3%A9.1/run"
    assert "idempotency-key" not in query.headers
    assert query.headers[HEADER] == "a/b?é.1"


@pytest.mark.parametrize(
    ("status", "source", "kind"),
    [
        (200, None, "ended"),
        (470, "ingress", "alive"),
        (404, "ingress", "absent"),
        (404, "invocation", "ended"),
        (500, "invocation", "ended"),
        (409, "invocation", "ended"),
    ],
)
def test_what_an_output_says(status: int, source: str | None, kind: str) -> None:
    answer = Answer(status, {} if source is None else {"x-restate-error-source": source}, b"{}")
    assert _state(answer, "url").kind == kind
