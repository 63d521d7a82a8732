"""Who sends the signals that the load waits for, as a person does who works through a list of what waits."""

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Self

from django.db import Error, connection
from django.db.models import Exists, OuterRef

from tandem.ledger.models import Execution, Signal
from tests.chaos.tasks import KINDS, SIGNAL, waiter

__all__ = ["Approver"]

_EVERY_SECONDS: Final = 0.1


@dataclass(kw_only=True)
class Approver:
    """Sends each waiter of one fault's load its number while the block lasts, to every second one before it waits.

    It looks at rows, not at what callers were told: a call that failed may have been committed all the same.
    """

    owner: str
    _over: threading.Event = field(default_factory=threading.Event)
    _failures: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="approver", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._failures:
            raise RuntimeError("Who sends the signals came to a stop.") from self._failures[0]

    def _run(self) -> None:
        try:
            while not self._over.wait(_EVERY_SECONDS):
                try:
                    self._approve()
                except Error:
                    # The fault may have taken this connection too; whom it has left without a signal gets one later.
                    connection.close()
        except BaseException as error:  # noqa: BLE001  # raised where the block is left
            self._failures.append(error)
        finally:
            connection.close()

    def _approve(self) -> None:
        unheard = Execution.objects.filter(
            ~Exists(Signal.objects.filter(execution_id=OuterRef("pk"))),
            outcome__isnull=True,
            owner=self.owner,
            task=waiter.module_path,
        )
        for execution in unheard:
            number = execution.arguments["args"][0]
            if execution.phase == "waiting" or number // len(KINDS) % 2:
                # One that is over without having heard anything is lost, and counted so.
                with suppress(ValueError):
                    waiter.get_backend().signal(str(execution.id), SIGNAL, number, by="approver")
