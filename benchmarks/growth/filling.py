"""Filling a ledger in the order of time, by sets, with rows as real ones look."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any, Final

import psycopg

from tandem.engines.base import Engine, Reference
from tandem.ledger.hot import inserts
from tandem.ledger.identity import new_id, new_ids
from tandem.ledger.rows import NewExecution

__all__ = ["DAYS", "Filling", "a_row"]

DAYS: Final = 30
_BATCH: Final = 100_000
_SENT: Final = 1_000

# A UUIDv7 of a time and a number, which tells parents and steps the same id again.
_FUNCTION: Final = """
CREATE FUNCTION growth_id(number bigint, at timestamptz) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT (lpad(to_hex((EXTRACT(EPOCH FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(number::text), 1, 3)
            || '8' || substr(md5(number::text), 4, 15))::uuid $$
"""

_WORDS: Final = """
CROSS JOIN LATERAL (SELECT
    (ARRAY['shop.tasks.send_invoice', 'shop.tasks.charge', 'accounts.tasks.send_email', 'reports.tasks.build_report',
           'search.tasks.index_product', 'shop.tasks.sync_stock', 'media.tasks.make_thumbnail', 'shop.tasks.notify'])
        [1 + mod(hashint8(number)::bigint + 2147483648, 8)] AS task,
    CASE WHEN mod(number, 7) = 0 THEN 'reports' ELSE 'default' END AS queue,
    CASE WHEN mod(number, 5) = 0 THEN 'restate' ELSE 'celery' END AS engine,
    CASE WHEN mod(number, 2) = 0 THEN 'user:' || mod(number, 5000) END AS owner,
    jsonb_build_object('args', jsonb_build_array(number, 'person' || mod(number, 5000) || '@example.org'),
                       'kwargs', jsonb_build_object('locale', 'en', 'template', 'invoice-paid', 'attempt', 1)) AS arguments,
    CASE WHEN mod(number, 3) = 0 THEN jsonb_build_object(
        'traceparent', '00-' || md5(number::text) || '-' || substr(md5('span' || number), 1, 16) || '-01') END AS trace,
    CASE WHEN mod(number, 20) = 7 THEN 'order-' || number END AS key,
    'shop-worker-7d9f8b6c5-x' || mod(number, 50) || ':' || 1000 + mod(number, 50) || ':5f3a' || mod(number, 50) AS worker
) AS words
"""

# 2 in 100 failed, with a traceback; 1 in 20 is the child of another; 1 in 20 has a key.
_FINISHED: Final = f"""
INSERT INTO tandem_execution (
    id, task, queue, arguments, engine, reason, owner, parent, trace, idempotency_key, phase, outcome, result, errors,
    created_at, sent_at, broker_epoch, started_at, last_attempted_at, finished_at, fence, attempts, worker, worker_ids)
SELECT growth_id(number, at), task, queue, arguments, engine, 'default', owner,
       CASE WHEN mod(number, 20) = 1 THEN growth_id(number - 1, at - %(every)s::interval) END, trace, key,
       outcome, outcome, CASE outcome WHEN 'succeeded' THEN to_jsonb('sent ' || number) END,
       CASE outcome WHEN 'failed' THEN jsonb_build_array(jsonb_build_object(
           'exception_class_path', 'builtins.ValueError',
           'traceback', repeat('  File "/srv/shop/tasks.py", line 12, in send_invoice' || E'\\n', 20))) ELSE '[]' END,
       at, at, 'epoch', at + interval '0.2 second', at + interval '0.2 second', at + interval '1 second', 1,
       CASE outcome WHEN 'failed' THEN 1 ELSE 0 END, worker, jsonb_build_array(worker)
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS number
CROSS JOIN LATERAL (SELECT %(since)s::timestamptz + number * %(every)s::interval AS at,
    CASE WHEN mod(number, 100) IN (13, 61) THEN 'failed' WHEN mod(number, 200) = 99 THEN 'cancelled'
         ELSE 'succeeded' END AS outcome) AS life
{_WORDS}
"""

_STEPS: Final = f"""
INSERT INTO tandem_step (execution_id, name, occurrence, position, kind, result, started_at, finished_at, fence, worker)
SELECT growth_id(number, at), (ARRAY['load', 'render', 'send'])[1 + position], 0, position, 'step',
       jsonb_build_object('rows', number, 'file', 'invoices/' || number || '.pdf'), at + interval '0.2 second',
       at + interval '0.5 second', 1, worker
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS number
CROSS JOIN LATERAL (SELECT %(since)s::timestamptz + number * %(every)s::interval AS at) AS life
CROSS JOIN generate_series(0, 2) AS position
{_WORDS}
WHERE mod(number, 10) = 0
"""

# Of a hundred: 60 on Celery's lists, 9 deferred, 5 retrying, 10 asleep, 13 who wait, one running, two parked.
# Nothing of it is due while a run lasts.
_WAITING: Final = f"""
INSERT INTO tandem_execution (
    id, task, queue, arguments, engine, reason, owner, trace, phase, created_at, sent_at, broker_epoch, due_at,
    started_at, last_attempted_at, fence, worker, worker_ids, lease_expires_at)
SELECT growth_id(-number, at), task, queue, arguments, CASE phase WHEN 'queued' THEN 'celery' ELSE engine END, 'default',
       owner, trace, phase, at,
       CASE WHEN phase IN ('queued', 'running') THEN at END, CASE WHEN phase IN ('queued', 'running') THEN %(epoch)s END,
       CASE WHEN phase IN ('deferred', 'retrying', 'sleeping', 'waiting')
            THEN now() + interval '1 day' + number * interval '1 second' END,
       CASE WHEN phase NOT IN ('queued', 'deferred') THEN at END,
       CASE WHEN phase NOT IN ('queued', 'deferred') THEN at END,
       CASE WHEN phase NOT IN ('queued', 'deferred') THEN 1 ELSE 0 END,
       CASE WHEN phase NOT IN ('queued', 'deferred') THEN worker END,
       CASE WHEN phase NOT IN ('queued', 'deferred') THEN jsonb_build_array(worker) ELSE '[]' END,
       CASE phase WHEN 'running' THEN now() + interval '1 day' END
FROM generate_series(1, %(count)s::bigint) AS number
CROSS JOIN LATERAL (SELECT now() - interval '1 hour' + number * interval '1 hour' / %(count)s AS at,
    CASE WHEN mod(number, 100) < 60 THEN 'queued' WHEN mod(number, 100) < 69 THEN 'deferred'
         WHEN mod(number, 100) < 74 THEN 'retrying' WHEN mod(number, 100) < 84 THEN 'sleeping'
         WHEN mod(number, 100) < 97 THEN 'waiting' WHEN mod(number, 100) = 97 THEN 'running'
         ELSE 'parked' END AS phase) AS life
{_WORDS}
"""

_OPEN_STEPS: Final = """
INSERT INTO tandem_step (execution_id, name, occurrence, position, kind, result, started_at, finished_at, fence, worker)
SELECT id, 'approval', 0, 0, CASE phase WHEN 'waiting' THEN 'waiting' ELSE 'sleep' END, '{"signal": "approval"}',
       created_at, now() + interval '30 days', 1, worker
FROM tandem_execution WHERE phase IN ('waiting', 'sleeping') AND outcome IS NULL
"""

_WORKERS: Final = """
INSERT INTO tandem_worker (id, kind, engine, queues, concurrency, running, stuck, started_at, seen_at)
SELECT 'shop-worker-' || number, 'worker', 'celery', '["default", "reports"]', 4, 4, 0, now(), now()
FROM generate_series(1, 100) AS number
"""

_QUEUED: Final = """
SELECT id, task, queue FROM tandem_execution
WHERE outcome IS NULL AND engine = 'celery' AND phase = 'queued' ORDER BY sent_at
"""

# What the claim and the end of an execution write, for many.
_CLAIMED: Final = """
UPDATE tandem_execution SET phase = 'running', fence = fence + 1, worker = 'filled', started_at = now(),
    last_attempted_at = now(), lease_expires_at = now() + interval '15 seconds', worker_ids = '["filled"]'
WHERE id = ANY(%s)
"""
_ENDED: Final = """
UPDATE tandem_execution SET phase = 'succeeded', outcome = 'succeeded', result = '1', finished_at = now(),
    lease_expires_at = NULL WHERE id = ANY(%s)
"""


@dataclass(frozen=True, kw_only=True)
class Filling:
    """Fills one ledger over a connection of its own, which commits each statement."""

    connection: psycopg.Connection[Any]
    say: Callable[[str], None]

    def finished(self, count: int) -> None:
        """Put in so many finished executions of the last 30 days, oldest first; a tenth of them has 3 steps."""
        self.connection.execute(_FUNCTION)
        ((since, every),) = self.connection.execute(
            "SELECT now() - %s * interval '1 day', (%s * interval '1 day' - interval '1 hour') / %s",
            [DAYS, DAYS, count],
        ).fetchall()
        for first in range(1, count + 1, _BATCH):
            last = min(count, first + _BATCH - 1)
            if first % (10 * _BATCH) == 1 and first > 1:
                self.say(f"{first - 1:,} of {count:,} are in")
            parameters = {"first": first, "last": last, "since": since, "every": every}
            for statement in (_FINISHED, _STEPS):
                self.connection.execute(statement, parameters)
        self.connection.execute(_WORKERS)

    def waiting(self, count: int, engine: Engine) -> None:
        """Put in so many that are not over; those on Celery's lists stand there, in that order."""
        self.connection.execute(_WAITING, {"count": count, "epoch": engine.epoch()})
        self.connection.execute(_OPEN_STEPS)
        queued = self.connection.execute(_QUEUED).fetchall()
        for some in batched(queued, _SENT):
            engine.submit([Reference(id=id_, task=task, queue=queue) for id_, task, queue in some])

    def pass_through(self, count: int, epoch: str | None) -> None:
        """Have so many come, be claimed and end, a thousand at a time, and leave dead what that leaves dead."""
        for _ in range(0, count, _SENT):
            ids = new_ids(_SENT)
            insert = inserts.insert_many(
                a_row(epoch=epoch), ids=ids, arguments=['{"args": [1, "a@example.org"], "kwargs": {}}'] * _SENT
            )
            self.connection.execute(insert.sql.encode(), insert.parameters)
            for statement in (_CLAIMED, _ENDED):
                for some in _fifths(ids):
                    self.connection.execute(statement, [some])


def _fifths(ids: Sequence[Any]) -> list[list[Any]]:
    """Parts that lie apart: a page's rows do not all move at once, and what one part left dead makes room for the next."""
    return [list(ids[start::5]) for start in range(5)]


def a_row(*, epoch: str | None, key: str | None = None) -> NewExecution:
    """A call as it is enqueued."""
    return NewExecution(
        id=new_id(),
        task="shop.tasks.send_invoice",
        queue="default",
        priority=0,
        arguments='{"args": [123456, "person@example.org"], "kwargs": {"locale": "en", "template": "invoice-paid"}}',
        engine="celery",
        reason="default",
        pinned=False,
        phase="queued",
        owner="user:77",
        idempotency_key=key,
        broker_epoch=epoch,
    )
