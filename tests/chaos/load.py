"""The steady load of one fault: every kind of task in turn, on both engines at once, at a pace that they can keep.

Children count: a call that has three is four executions.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from django.db import Error, connection

from tandem.declarations import Task
from tests.chaos.tasks import CHILDREN, KINDS
from tests.chaos.waiting import until

__all__ = ["ENGINES", "Call", "Load", "enqueue"]

type Call = Callable[..., str | None]
"""Takes what `enqueue` takes, and answers as it does."""

ENGINES: Final = ("celery", "restate")

_AGAIN_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 240.0


def enqueue(task: Task, number: int, *, engine: str, owner: str) -> str | None:
    """Enqueue as a caller does; None where the caller was told that it failed."""
    try:
        return str(task.using(engine=engine, owner=owner).enqueue(number).id)
    except Error:
        connection.close()
        return None


@dataclass(kw_only=True)
class Load:
    """At least so many executions an engine, `pace` of them a second, and more for as long as the fault lasts.

    What callers were told is in `acknowledged`: id and engine.

    A call that failed is made again: with an id of its own, for it may have been committed all the same.
    """

    owner: str
    executions: int
    pace: float
    call: Call = enqueue
    kinds: Sequence[Task] = KINDS
    acknowledged: dict[str, str] = field(default_factory=dict)
    _made: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ENGINES, 0))
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _failures: list[BaseException] = field(default_factory=list)

    def start(self) -> None:
        for engine in ENGINES:
            thread = threading.Thread(target=self._run, args=(engine,), name=f"load-{engine}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def reach(self, part: float) -> None:
        """Wait until the calls for that part of the executions were made on both engines."""

        def reached() -> bool:
            self._raise()
            return min(self._made.values()) >= self.executions * part

        until(reached, f"{part:.0%} of the load is enqueued", seconds=_PATIENCE_SECONDS)

    def finish(self) -> None:
        """Say that the fault is over, and wait until every call was made."""
        self._over.set()
        self.reach(1)
        for thread in self._threads:
            thread.join()
        self._raise()

    def extra(self, task: Task, number: int, *, engine: str) -> str:
        """Make one call beside the steady ones, and answer its id."""
        id_ = until(lambda: enqueue(task, number, engine=engine, owner=self.owner), f"{task.name} is enqueued")
        self.acknowledged[id_] = engine
        return id_

    def _run(self, engine: str) -> None:
        began = time.monotonic()
        try:
            for number in count():
                if self._made[engine] >= self.executions and self._over.is_set():
                    break
                # What was late because a server did not answer is made up for at once, as waiting callers would.
                time.sleep(max(0.0, began + self._made[engine] / self.pace - time.monotonic()))
                kind = self.kinds[number % len(self.kinds)]
                self._call(kind, number, engine)
                self._made[engine] += 1 + CHILDREN.get(kind.name, 0)
        except BaseException as error:  # noqa: BLE001  # raised where the load is waited for
            self._failures.append(error)
        finally:
            connection.close()

    def _call(self, task: Any, number: int, engine: str) -> None:
        while (id_ := self.call(task, number, engine=engine, owner=self.owner)) is None:
            time.sleep(_AGAIN_SECONDS)
        self.acknowledged[id_] = engine

    def _raise(self) -> None:
        if self._failures:
            raise RuntimeError("The load came to a stop.") from self._failures[0]
