import pytest

from tandem import Permanent, Retryable
from tandem.declarations import Task
from tandem.execution.retry import Verdict, after_failure
from tests.work import tasks


def judge(error: BaseException, task: Task, attempts: int, random: float = 0.0, age: float = 0.0) -> Verdict:
    return after_failure(error, task=task, attempts=attempts, age=age, random=lambda: random)


def test_a_task_without_retries_fails() -> None:
    assert judge(ValueError(), tasks.fail, 0) == Verdict(outcome="failed")


def test_permanent_fails_at_once_whatever_retries_are_left() -> None:
    assert judge(Permanent(), tasks.refuse, 0) == Verdict(outcome="failed")


def test_used_up_retries_are_dead() -> None:
    assert judge(ValueError(), tasks.fail_always, 2) == Verdict(outcome="dead")
    assert judge(Retryable(after=1), tasks.fail_always, 2) == Verdict(outcome="dead")


@pytest.mark.parametrize(("attempts", "delay"), [(0, 0.05), (1, 0.1), (2, 0.2)])
def test_backoff_doubles(attempts: int, delay: float) -> None:
    assert judge(ValueError(), tasks.fail_twice, attempts).delay == pytest.approx(delay)


def test_jitter_takes_off_up_to_half() -> None:
    assert judge(ValueError(), tasks.fail_twice, 0, random=1.0).delay == pytest.approx(0.025)


def test_backoff_has_a_ceiling_and_cannot_overflow() -> None:
    delays = [judge(ValueError(), tasks.ask_again, attempts).delay for attempts in range(5)]
    assert max(delays) == 600.0
    assert judge(ValueError(), _patient(), 5_000) == Verdict(outcome=None, delay=600.0)


def test_a_retry_that_would_start_past_the_maximum_age_is_dead() -> None:
    aging = Task(func=tasks.ask_again.func, takes_context=True, retries=10, backoff=60, jitter=False, max_age=100)
    assert judge(ValueError(), aging, 0, age=39.9) == Verdict(outcome=None, delay=60.0)
    assert judge(ValueError(), aging, 0, age=40.1) == Verdict(outcome="dead")
    assert judge(Retryable(after=1), aging, 0, age=99.5) == Verdict(outcome="dead")


def test_retryable_names_its_own_delay() -> None:
    assert judge(Retryable(after=7.5), tasks.ask_again, 0).delay == 7.5
    assert judge(Retryable(after=-1), tasks.ask_again, 0).delay == 0.0


def _patient() -> Task:
    return Task(func=tasks.ask_again.func, takes_context=True, retries=10_000, backoff=60)
