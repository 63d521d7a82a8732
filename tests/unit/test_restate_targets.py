"""Which service and handler a task becomes, and the names that cannot be."""

from collections.abc import Iterator
from typing import Any

import pytest

from tandem.configuration import RestateOptions
from tandem.decorators import task
from tandem.engines.restate.client import _request
from tandem.engines.restate.messages import Answer, Requests, _state
from tandem.engines.restate.targets import HEADER, Target, problems, target
from tandem.task import Task
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
    assert target(tasks.noop) == Target(service="Work", handler="noop")


def test_a_module_outside_every_app_counts_for_its_package() -> None:
    assert str(target(task(first))) == "tests/first"


def test_a_workflow_is_a_service_of_its_own() -> None:
    assert target(tasks.workflow) == Target(service="WorkWorkflow", handler="workflow", workflow=True)
    assert str(target(task(workflow=True)(first))) == "tests.first/first"


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
    request = _request(query, REQUESTS.options)
    assert str(request.url) == "http://restate:8080/restate/send/Work/noop"
    sent = {name for name in request.headers if name not in {"host", "content-length"}}
    assert sent == {"content-type", "idempotency-key", HEADER}
    assert request.headers["idempotency-key"] == request.headers[HEADER] == "id.1"


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
