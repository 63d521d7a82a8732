"""How priorities become lists, and what the engine refuses before it touches a broker."""

from typing import Any
from uuid import UUID

import pytest

from tandem.configuration import Configuration
from tandem.engines.celery.app import ExecutionTask, app_of, is_execution, options_of
from tandem.engines.celery.engine import CeleryEngine
from tandem.engines.celery.lists import STEPS, Lists, step_of
from tandem.engines.celery.message import id_of
from tandem.exceptions import ConfigurationError


def configuration(queues: tuple[str, ...] = ("default",), **celery: Any) -> Configuration:
    return Configuration.read("default", {"QUEUES": list(queues), "OPTIONS": {"ENGINES": {"celery": celery}}})


def test_a_higher_priority_never_comes_later() -> None:
    steps = [step_of(priority) for priority in range(100, -101, -1)]
    assert steps == sorted(steps)
    assert set(steps) == set(STEPS)


def test_no_priority_is_the_third_list() -> None:
    assert step_of(0) == 6
    assert Lists().key("default", step_of(0)) == "default:6"


def test_the_bands_of_a_queue_cover_every_priority_once() -> None:
    lists = Lists(prefix="shop:")
    for priority in range(-100, 101):
        (band,) = [band for band in lists.bands("mail") if band.lowest <= priority <= band.highest]
        assert band.key == lists.key("mail", step_of(priority))


def test_an_app_with_fewer_steps_has_fewer_lists() -> None:
    lists = Lists(separator="\x06\x16", steps=(0, 5))
    assert [band.key for band in lists.bands("celery")] == ["celery", "celery", "celery\x06\x165", "celery\x06\x165"]


def test_a_queue_that_kombu_would_misread_is_a_problem() -> None:
    (text,) = CeleryEngine(configuration(("default", "mail:urgent"))).problems()
    assert "'mail:urgent'" in text


def test_another_kind_of_broker_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'amqp' URL"):
        CeleryEngine(configuration(BROKER_URL="amqp://localhost"))


def test_an_app_that_is_none_is_a_problem_and_no_crash() -> None:
    assert "which is no Celery app" in CeleryEngine(configuration(APP="tandem.configuration.nearest")).problems()[0]
    assert "nowhere" in CeleryEngine(configuration(APP="nowhere.at.all")).problems()[0]


def test_without_the_engine_there_are_no_options() -> None:
    with pytest.raises(ConfigurationError, match="has no 'celery'"):
        options_of(Configuration.read("default", {"OPTIONS": {"ENGINES": {"stub": {}}}}))


@pytest.mark.parametrize("message", [b"", b"no json", b"[]", b'{"headers": {}}', b'{"headers": {"id": 1}}'])
def test_a_strange_message_refers_to_nothing(message: bytes) -> None:
    assert id_of(message) is None


def test_a_message_refers_to_its_execution() -> None:
    id_ = UUID(int=7)
    assert id_of(f'{{"headers": {{"id": "{id_}"}}}}') == id_
    assert is_execution(str(id_))
    assert not is_execution(None)


def test_a_producers_app_does_not_become_the_projects_current_app() -> None:
    from celery import current_app  # noqa: PLC0415  # what is current is the point

    app = app_of(options_of(configuration()), ("default",))
    assert current_app._get_current_object() is not app


def test_a_tandem_task_is_not_sent_by_celerys_own_calls() -> None:
    task = ExecutionTask()
    task.name = "work.tasks.add"
    with pytest.raises(TypeError, match="call enqueue"):
        task.delay()
