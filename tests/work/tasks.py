"""Tasks that the tests run, on either engine."""

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection

from tandem import AsyncContext, Cancelled, ChildFailed, Context, Permanent, Retryable, SignalTimeout, task
from tests.work.effects import record, recorded


@task
def noop(*args: Any, **kwargs: Any) -> None:
    return None


@task
async def noop_async(*args: Any, **kwargs: Any) -> None:
    return None


@task
def add(left: int, right: int = 1) -> int:
    return left + right


@task(takes_context=True)
def who(context: Context) -> dict[str, Any]:
    return {
        "id": context.task_result.id,
        "attempt": context.attempt,
        "engine": context.engine,
        "owner": context.owner,
        "key": context.idempotency_key("send"),
        "attempts": context.task_result.attempts,
    }


@task
def fail(message: str = "This task failed") -> None:
    raise ValueError(message)


@task
def leave() -> None:
    sys.exit("This task exits")


@task
def complex_exception() -> None:
    raise ValueError(ValueError("This task failed"))


@task
def complex_result() -> Any:
    return {1: object()}


@task(retries=2, backoff=0.05)
def fail_always(mark: str) -> None:
    record(mark)
    raise ValueError(mark)


@task(takes_context=True, retries=3, backoff=0.05)
def fail_twice(context: Context, mark: str) -> int:
    record(mark, context.attempt)
    if context.attempt < 3:
        raise RuntimeError(f"attempt {context.attempt}")
    return context.attempt


@task(retries=5)
def refuse(mark: str) -> None:
    record(mark)
    raise Permanent("the address does not exist")


@task(takes_context=True, retries=5, backoff=60)
def ask_again(context: Context, mark: str) -> int:
    record(mark)
    if context.attempt == 1:
        raise Retryable("not yet", after=0.1)
    return context.attempt


def _effect(mark: str, name: str) -> str:
    record(mark, name)
    return name


@task(takes_context=True, retries=3)
def steps_on_threads(context: Context, mark: str) -> list[str]:
    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(lambda number: context.step(f"step-{number}", _effect, mark, "step"), range(4)))


@task(takes_context=True, retries=3, backoff=0.05)
def steps(context: Context, mark: str, fail_after: int = 0) -> list[str]:
    """Three steps; the first attempt fails after so many of them."""
    done = []
    for number in range(1, 4):
        done.append(context.step("same name", _effect, mark, f"step-{number}"))
        context.progress(number, total=3, message=f"step {number}")
        if context.attempt == 1 and number == fail_after:
            raise RuntimeError("in the middle")
    return done


async def _async_effect(mark: str, name: str) -> str:
    record(mark, name)
    return name


async def _named_slowly(mark: str, name: str, seconds: float) -> str:
    await asyncio.sleep(seconds)
    record(mark, name)
    return name


@task(takes_context=True, retries=3, backoff=0.05)
async def concurrent_steps(context: AsyncContext, mark: str) -> list[str]:
    """Three steps at once, which end in another order than they began in; then the first attempt fails."""
    slow = [("first", 0.3), ("second", 0.1), ("third", 0.2)]
    done = await asyncio.gather(*(context.step(name, _named_slowly, mark, name, wait) for name, wait in slow))
    if context.attempt == 1:
        raise RuntimeError("after the steps")
    return list(done)


@task(takes_context=True, retries=3, backoff=0.05)
async def steps_async(context: AsyncContext, mark: str, fail_after: int = 0) -> list[str]:
    done = []
    for number in range(1, 4):
        done.append(await context.step(f"step-{number}", _async_effect, mark, f"step-{number}"))
        await context.progress(number, total=3, message=f"step {number}")
        if context.attempt == 1 and number == fail_after:
            raise RuntimeError("in the middle")
    return done


@task(takes_context=True)
def sleeper(context: Context, mark: str, seconds: float) -> str:
    context.step("before", _effect, mark, "before")
    context.sleep(seconds)
    return context.step("after", _effect, mark, "after")


@task(takes_context=True)
async def sleeper_async(context: AsyncContext, mark: str, seconds: float) -> str:
    await context.step("before", _async_effect, mark, "before")
    await context.sleep(seconds)
    return await context.step("after", _async_effect, mark, "after")


@task(requires=["hard_time_limit"])
def killable() -> None:
    """Runs only where a body can be killed."""


@task(takes_context=True, workflow="WorkWorkflow")
def workflow(context: Context, mark: str) -> list[str]:
    return [context.step(name, _effect, mark, name) for name in ("first", "second")]


def _unreliable(mark: str) -> str:
    record(mark, "unreliable")
    raise ValueError("the step failed")


@task(takes_context=True)
def catches(context: Context, mark: str) -> str:
    """A body may catch what a step raises, and go on."""
    try:
        context.step("unreliable", _unreliable, mark)
    except ValueError as error:
        return context.step("instead", _effect, mark, f"caught {error}".replace(" ", "-"))
    raise AssertionError("the step's error did not come out")


@task(takes_context=True, retries=2)
def step_not_json(context: Context, mark: str) -> None:
    record(mark)
    context.step("set", set)


@task(takes_context=True)
def slow_steps(context: Context, mark: str, count: int, seconds: float) -> int:
    """Records each step; long enough to be killed or cancelled in the middle."""
    for number in range(count):
        context.step(f"slow-{number}", _slow, mark, number, seconds)
    return count


def _slow(mark: str, number: int, seconds: float) -> int:
    record(mark, f"start-{number}")
    time.sleep(seconds)
    record(mark, f"end-{number}")
    return number


@task(takes_context=True)
def cancellable(context: Context, mark: str) -> str:
    """Steps until cancelled; cleans up in a step."""
    try:
        for number in range(600):
            context.step(f"wait-{number}", time.sleep, 0.05)
            if number == 0:
                record(mark, "started")
    except Cancelled:
        record(mark, "cancelled")
        raise
    return "ran to its end"


@task(time_limit=0.5)
def too_long(mark: str) -> None:
    record(mark, "started")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        time.sleep(0.05)
    record(mark, "ended")


@task(takes_context=True, time_limit=3, retries=1, backoff=0.1)
def late_in_a_step(context: Context, mark: str) -> str:
    """Is past its limit within a step of its first attempt, which comes back while the second runs."""
    record(mark, "started")
    first = context.attempt == 1
    context.step("wait", time.sleep, 5.5 if first else 2.5)
    return "second"


@task(takes_context=True, external=True)
def greet(context: Context, name: str, polite: bool = False) -> str:  # noqa: FBT001, FBT002  # JSON keyword arguments
    return context.step("greet", "Good day, {}".format if polite else "Hello {}".format, name)


@task(queue_name="other", priority=50)
def elsewhere() -> str:
    return "other"


@task(takes_context=True)
async def leave_async(context: AsyncContext) -> None:
    await context.step("before", _async_effect, "leave", "before")
    sys.exit("This task exits")


def _exit() -> None:
    sys.exit("This step exits")


@task(takes_context=True)
def leave_in_a_step(context: Context) -> None:
    context.step("exit", _exit)


@task
def meet(mark: str, parties: int) -> int:
    """Ends once so many bodies run at the same time."""
    record(mark)
    deadline = time.monotonic() + 20
    while len(recorded(mark)) < parties and time.monotonic() < deadline:
        time.sleep(0.02)
    return len(recorded(mark))


@task(takes_context=True)
def swallow(context: Context, mark: str) -> str:
    """A body that catches everything, as none should."""
    record(mark, "body")
    for number in range(50):
        try:
            context.step(f"step-{number}", time.sleep, 0.1)
        except:  # noqa: E722  # the point
            record(mark, "swallowed")
    return "to the end"


@task(takes_context=True)
async def swallow_async(context: AsyncContext, mark: str) -> str:
    record(mark, "body")
    for number in range(50):
        try:
            await context.step(f"step-{number}", asyncio.sleep, 0.1)
        except:  # noqa: E722  # the point
            record(mark, "swallowed")
    return "to the end"


@task(takes_context=True)
def catch_and_sleep(context: Context, mark: str) -> str:
    """A step that fails twice, with a sleep between: the attempt after the sleep runs it again."""
    try:
        context.step("unreliable", _unreliable, mark)
    except ValueError:
        record(mark, "caught")
    context.sleep(0.5)
    return context.step("after", _effect, mark, "after")


@task(takes_context=True)
def naps(context: Context, mark: str, count: int, seconds: float) -> int:
    for number in range(count):
        context.step(f"before-{number}", _effect, mark, f"before-{number}")
        context.sleep(seconds)
    return count


@task(takes_context=True)
async def slow_steps_async(context: AsyncContext, mark: str, count: int, seconds: float) -> int:
    for number in range(count):
        await context.step(f"slow-{number}", _slow_async, mark, number, seconds)
    return count


async def _slow_async(mark: str, number: int, seconds: float) -> int:
    record(mark, f"start-{number}")
    await asyncio.sleep(seconds)
    record(mark, f"end-{number}")
    return number


@task(takes_context=True)
async def cancellable_async(context: AsyncContext, mark: str) -> str:
    try:
        for number in range(600):
            await context.step(f"wait-{number}", asyncio.sleep, 0.05)
            if number == 0:
                record(mark, "started")
    except Cancelled:
        record(mark, await context.step("clean up", _async_effect, f"{mark}-step", "cleaned"))
        raise
    return "ran to its end"


@task(time_limit=0.5)
async def too_long_async(mark: str) -> None:
    record(mark, "started")
    await asyncio.sleep(30)
    record(mark, "ended")


@task
def works(mark: str, seconds: float) -> str:
    """A plain body that takes its time."""
    record(mark, "start")
    time.sleep(seconds)
    record(mark, "end")
    return "done"


@task(takes_context=True)
def reports(context: Context, mark: str) -> None:
    """Says how far it is, and waits until its mark's `go` is recorded."""
    context.progress(1, total=2, message="half way")
    deadline = time.monotonic() + 20
    while not recorded(f"{mark}-go") and time.monotonic() < deadline:
        time.sleep(0.02)


@task(external=True)
def refuse_outside(reason: str) -> None:
    raise Permanent(reason)


@task(takes_context=True, retries=5, backoff=0.05)
def deployed_over(context: Context, mark: str) -> str:
    """Asks for another step after the first attempt, until the code is put right."""
    deployed, fixed = recorded(f"{mark}-deployed"), recorded(f"{mark}-fixed")
    name = "new" if deployed and not fixed else "old"
    value = context.step(name, _effect, mark, name)
    if not deployed:
        record(f"{mark}-deployed")
        raise RuntimeError("the deploy comes now")
    return value


@task(takes_context=True)
def approval(context: Context, mark: str, timeout: float | None = None) -> list[Any]:
    context.step("asked", _effect, mark, "asked")
    answers = [context.wait("approved", timeout), context.wait("approved", timeout)]
    context.step("answered", _effect, mark, "answered")
    return answers


@task(takes_context=True)
async def approval_async(context: AsyncContext, mark: str, timeout: float | None = None) -> list[Any]:  # noqa: ASYNC109
    await context.step("asked", _async_effect, mark, "asked")
    answers = [await context.wait("approved", timeout), await context.wait("approved", timeout)]
    await context.step("answered", _async_effect, mark, "answered")
    return answers


@task(takes_context=True)
def impatient(context: Context, mark: str) -> str:
    try:
        context.wait("never", timeout=0.3)
    except SignalTimeout:
        return context.step("gave up", _effect, mark, "gave-up")
    return "came"


@task(takes_context=True)
def family(context: Context, mark: str, size: int) -> dict[str, Any]:
    first = context.call(add, 1, right=1)
    context.step("between", _effect, mark, "between")
    rest = context.gather(*(add.bind(number, right=first) for number in range(size)))
    context.step("after", _effect, mark, "after")
    return {"first": first, "rest": rest}


@task(takes_context=True)
async def family_async(context: AsyncContext, mark: str, size: int) -> dict[str, Any]:
    first = await context.call(add, 1, right=1)
    await context.step("between", _async_effect, mark, "between")
    rest = await context.gather(*(add.bind(number, right=first) for number in range(size)))
    await context.step("after", _async_effect, mark, "after")
    return {"first": first, "rest": rest}


@task(takes_context=True)
def late_family(context: Context) -> list[int]:
    """Asks for its children when what its process knows of the routes is too old, from the signal on."""
    context.wait("go")
    context.sleep(1.2)
    return context.gather(add.bind(1), add.bind(2))


@task(takes_context=True)
async def late_family_async(context: AsyncContext) -> list[int]:
    await context.wait("go")
    await context.sleep(1.2)
    return await context.gather(add.bind(1), add.bind(2))


@task(takes_context=True)
def strict_parent(context: Context, mark: str) -> Any:
    return context.call(fails_until, mark)


@task
def fails_until(mark: str) -> str:
    if not recorded(f"{mark}-fixed"):
        raise ValueError("not yet")
    return "fixed"


@task(takes_context=True)
def lenient_parent(context: Context) -> list[str]:
    ends = context.gather(add.bind(1), fail.bind("on purpose"), return_exceptions=True)
    return [end.phase if isinstance(end, ChildFailed) else str(end) for end in ends]


@task(takes_context=True)
def parent_of_waiters(context: Context, mark: str) -> Any:
    return context.gather(approval.bind(mark), approval.bind(mark))


def _ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.2)")


@task
def ask_database() -> None:
    """Uses Django's connection, long enough for others to run beside it."""
    _ask_database()


@task
async def ask_database_async() -> None:
    await sync_to_async(_ask_database)()
    await asyncio.to_thread(_ask_database)


def _sleep_in_database(mark: str) -> None:
    record(mark, "asleep")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(1) AS in_a_step")


@task(takes_context=True)
def sleep_in_database(context: Context, mark: str) -> None:
    context.step("sleep", _sleep_in_database, mark, atomic=True)


def _charged(amount: int) -> int:
    return amount


@task(takes_context=True)
def charge(context: Context, amount: int) -> int:
    return context.step("charge", _charged, amount, atomic=True)


@task(takes_context=True)
async def charge_async(context: AsyncContext, amount: int) -> int:
    return await context.step("charge", _charged, amount, atomic=True)


def _deposit(account: str, amount: int, fail: bool) -> int:  # noqa: FBT001  # a step's arguments
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO work_deposit (account, amount) VALUES (%s, %s)", [account, amount])
    if fail:
        raise RuntimeError("after the write, before the commit")
    return amount


@task(takes_context=True, retries=3, backoff=0.05)
def deposit(context: Context, mark: str, fail_first: bool = False) -> int:  # noqa: FBT001, FBT002  # JSON arguments
    first = context.step("first", _deposit, mark, 1, fail_first and context.attempt == 1, atomic=True)
    if context.attempt <= 2:
        raise RuntimeError("between the deposits")
    return first + context.step("second", _deposit, mark, 10, False, atomic=True)  # as above


@task(takes_context=True, retries=3, backoff=0.05)
async def deposit_async(context: AsyncContext, mark: str, fail_first: bool = False) -> int:  # noqa: FBT001, FBT002
    first = await context.step("first", _deposit, mark, 1, fail_first and context.attempt == 1, atomic=True)
    if context.attempt <= 2:
        raise RuntimeError("between the deposits")
    return first + await context.step("second", _deposit, mark, 10, False, atomic=True)
