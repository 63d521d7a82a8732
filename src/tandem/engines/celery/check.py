"""What is wrong with the Celery engine's surroundings, in plain words."""

import re
from collections.abc import Sequence
from typing import Final

from tandem.configuration import Configuration, scaled_to_zero
from tandem.engines.celery.client import BrokerClient
from tandem.engines.celery.lists import Lists
from tandem.exceptions import BrokerUnavailable, LedgerUnavailable
from tandem.ledger import connection as ledger
from tandem.ledger.operating import load
from tandem.ledger.relaying import brokered
from tandem.registry import queues_of

__all__ = ["live_problems", "problems"]

_OLDEST: Final = (6, 2)
_FRESH_SECONDS: Final = 60.0


def live_problems(configuration: Configuration, client: BrokerClient) -> list[str]:
    """What the servers say is wrong, each with what to do about it."""
    return [*_broker(client), *_workers(configuration)]


def problems(configuration: Configuration, lists: Lists) -> list[str]:
    """What is wrong with the configuration itself."""
    return [
        f"The queue name {queue!r} holds {lists.separator!r}, by which kombu tells priorities: nothing would consume"
        f" it. Rename it in TASKS[{configuration.alias!r}]['QUEUES']."
        for queue in lists.ambiguous(configuration.queues)
    ]


def _broker(client: BrokerClient) -> list[str]:
    try:
        info, policy = client.exchange_leniently(("INFO",), ("CONFIG", "GET", "maxmemory-policy"))
    except BrokerUnavailable as error:
        return [str(error)]
    found: list[str] = []
    if isinstance(info, bytes):
        version = re.search(rb"^redis_version:(\d+)\.(\d+)", info, re.MULTILINE)
        if version is not None and (int(version[1]), int(version[2])) < _OLDEST:
            found.append(
                f"The Celery broker {client.public_url} is Redis {version[1].decode()}.{version[2].decode()};"
                " Tandem needs 6.2 or later, or Valkey."
            )
        evicts = re.search(rb"^maxmemory_policy:(\S+)", info, re.MULTILINE)
        name = evicts[1].decode() if evicts else _policy(policy)
        if name not in {"noeviction", ""}:
            found.append(
                f"The Celery broker {client.public_url} evicts keys when it is full (maxmemory-policy {name}): whole"
                " queues would vanish, and be sent again by the relay. Set maxmemory-policy noeviction."
            )
    return found


def _policy(reply: object) -> str:
    """CONFIG GET's answer; managed servers may refuse it."""
    match reply:
        case [_, bytes() as value]:
            return value.decode()
        case _:
            return ""


def _workers(configuration: Configuration) -> list[str]:
    if not ledger.is_postgresql():
        return []
    try:
        consumed = ledger.execute(brokered.consumed_queues(engine="celery", seconds=_FRESH_SECONDS))
    except LedgerUnavailable:
        # Said by the ledger's own check.
        return []
    # That no worker runs at all is said for every engine alike.
    if not consumed:
        return []
    idle = [queue for queue in queues_of(configuration.queues) if queue not in consumed]
    return [text for queue in idle if (text := _idle(queue, consumed))]


def _idle(queue: str, consumed: Sequence[str]) -> str:
    """What is wrong with a queue that nobody consumes; nothing where that is so because it is empty."""
    if f"celery/{queue}" not in scaled_to_zero():
        return _unconsumed(queue, consumed)
    if not (number := ledger.execute(load.waiting(engine="celery", queue=queue))):
        return ""
    return (
        f"No running Celery worker consumes the queue {queue!r}, though {number} execution(s) have waited for one for"
        f" over {load.STARTS_SECONDS:.0f} s: the autoscaler starts none. Look at it, and at the exporter that it asks."
    )


def _unconsumed(queue: str, consumed: Sequence[str]) -> str:
    return (
        f"No running Celery worker consumes the queue {queue!r} (consumed: {', '.join(sorted(consumed))})."
        f" Start one with `manage.py tandem worker --queues {queue}`."
    )
