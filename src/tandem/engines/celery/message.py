"""Celery's own message, built once for each kind of task and then filled in for each send."""

import json
import os
import threading
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID, uuid4

from kombu.connection import Connection
from kombu.messaging import Producer

from tandem import registry
from tandem.engines.base import Reference
from tandem.engines.celery.lists import step_of
from tandem.exceptions import UnknownTask

__all__ = ["HEADER", "Messages", "id_of"]

HEADER: Final = "tandem"
"""Says that a message is Tandem's, so that a worker runs what was not among its tasks when it started."""

_ID: Final = "00000000-0000-0000-0000-00000000001d"
_TAG: Final = "00000000-0000-0000-0000-0000000007a9"

type _Kind = tuple[str, str, int]


class Messages:
    """Makes the messages of references.

    Celery and kombu build one message for each task, queue and step of priority, as `send_task` would put it on the
    list; it is kept, and a send puts in the execution's id and a delivery tag of its own (two messages with one tag
    would collide among the unacknowledged). The arguments are empty: the id is the reference.

    A task with `time_limit` has Celery's own limits: soft at `time_limit`, and `grace` seconds later the prefork
    pool kills the child.
    """

    def __init__(self, app: Callable[[], Any], *, grace: float) -> None:
        self._app = app
        self._grace = grace
        self._templates: dict[_Kind, str] = {}
        self._lock = threading.Lock()

    def message(self, reference: Reference) -> str:
        """The JSON that goes on the list."""
        kind = (reference.task, reference.queue, step_of(reference.priority))
        template = self._templates.get(kind)
        if template is None:
            with self._lock:
                template = self._templates.setdefault(kind, self._build(*kind))
        return template % {"id": str(reference.id), "tag": os.urandom(8).hex()}

    def _build(self, task: str, queue: str, step: int) -> str:
        try:
            limit = registry.resolve(task).time_limit
        except UnknownTask:
            # A relay may lack the task's code; the worker that has it enforces the limit in its own process.
            limit = None
        app = self._app()
        parts = app.amqp.as_task_v2(
            _ID,
            task,
            time_limit=None if limit is None else limit + self._grace,
            soft_time_limit=limit,
            ignore_result=True,
            argsrepr="",
            kwargsrepr="",
        )
        # An in-process transport makes the message just as the Redis transport does: they share the base class.
        name = uuid4().hex
        with Connection("memory://") as connection, connection.channel() as channel:
            channel.queue_declare(name)
            producer = Producer(channel, auto_declare=False)
            producer.publish(
                parts.body,
                exchange="",
                routing_key=name,
                serializer="json",
                priority=step,
                headers=parts.headers | {HEADER: True},
                delivery_mode=2,
                **parts.properties,
            )
            payload = channel.basic_get(name, no_ack=True).serializable()
            channel.queue_delete(name)
        payload["properties"]["delivery_info"]["routing_key"] = queue
        payload["properties"]["delivery_tag"] = _TAG
        text = json.dumps(payload).replace("%", "%%")
        return text.replace(_ID, "%(id)s").replace(_TAG, "%(tag)s")


def id_of(message: bytes | str) -> UUID | None:
    """The execution that a message on a list refers to; None for a message that no Tandem sent."""
    try:
        return UUID(json.loads(message)["headers"]["id"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
