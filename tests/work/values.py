"""A body that does with a value what a body may do, at a place of its caller's choice; and values that nobody can keep."""

import base64
import pickle
from collections.abc import Callable, Mapping
from inspect import isawaitable
from typing import Any, Final, NoReturn

from tandem import AsyncContext, Context, Retryable, task
from tests.work.tasks import noop

__all__ = ["PLACES", "Deep", "Raises", "ask_again_after", "misuse", "misuse_async", "nested", "packed"]


class Raises(Exception):
    """Raises its argument from every method that a value may be asked by."""

    def _raise(self, *_: Any) -> NoReturn:
        raise self.args[0]

    __str__ = __repr__ = __float__ = __int__ = __iter__ = __len__ = __bool__ = __hash__ = _raise


class Deep:
    """Becomes lists within each other once it is unpacked: pickle takes no deep ones."""

    def __init__(self, levels: int) -> None:
        self.levels = levels

    def __reduce__(self) -> tuple[Callable[[int], list[Any]], tuple[int]]:
        return nested, (self.levels,)


def nested(levels: int) -> list[Any]:
    """Lists within each other."""
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def packed(value: Any) -> str:
    """Any value as an argument."""
    return base64.b64encode(pickle.dumps(value)).decode()


def _raise(_: Any, value: Any) -> NoReturn:
    raise value if isinstance(value, BaseException) else ValueError(value)


def _ask_again(_: Any, value: Any) -> NoReturn:
    raise Retryable("the bank is busy", after=value)


PLACES: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "return": lambda _, value: value,
    "raise": _raise,
    "after": _ask_again,
    "step": lambda context, value: context.step("step", lambda: value),
    "atomic step": lambda context, value: context.step("step", lambda: value, atomic=True),
    "step's name": lambda context, value: context.step(value, int),
    "progress": lambda context, value: context.progress(value, value, value),
    "progress message": lambda context, value: context.progress(1, 2, value),
    "sleep": lambda context, value: context.sleep(value),
    "signal": lambda context, value: context.wait(value, 0),
    "timeout": lambda context, value: context.wait("never", value),
    "child": lambda context, value: context.call(noop, value),
    "key": lambda context, value: context.idempotency_key(value),
}


@task(takes_context=True)
def misuse(context: Context, place: str, value: str) -> Any:
    return PLACES[place](context, pickle.loads(base64.b64decode(value)))


@task(takes_context=True)
async def misuse_async(context: AsyncContext, place: str, value: str) -> Any:
    answer = PLACES[place](context, pickle.loads(base64.b64decode(value)))
    return await answer if isawaitable(answer) else answer


@task(retries=1, backoff=0.05)
def ask_again_after(value: str) -> None:
    _ask_again(None, pickle.loads(base64.b64decode(value)))
