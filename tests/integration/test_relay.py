"""A relay beside engines that fail: nothing ends it, and no engine or execution has to wait for another's trouble."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone

from tandem.configuration import Configuration, ledger_configuration
from tandem.embedded.stack import Stack
from tandem.engines.base import Engine, Reference
from tandem.ledger import connection as ledger
from tandem.ledger.hot import claims, inserts
from tandem.ledger.identity import new_id
from tandem.ledger.models import Execution, Worker
from tandem.ledger.rows import NewExecution
from tandem.probes.health import READY, Health
from tandem.relay import Relay
from tests.integration.ledger_database import LATER, LEASES_RUN_OUT, ledger_database
from tests.integration.waiting import until

LEASE = 1.0


class Fake(Engine):
    """An engine that keeps what it is given, but what it has no stomach for."""

    def __init__(self, name: str, refused: Sequence[UUID] = ()) -> None:
        self.name = name
        self.refused = set(refused)
        self.sent: list[UUID] = []
        self.cancelled: list[UUID] = []

    def _take(self, batch: Sequence[Reference], into: list[UUID]) -> None:
        for reference in batch:
            if reference.id in self.refused:
                raise KeyError(f"{reference.id} is no good")
        into.extend(reference.id for reference in batch)

    def submit(self, batch: Sequence[Reference]) -> None:
        self._take(batch, self.sent)

    def cancel(self, batch: Sequence[Reference]) -> None:
        self._take(batch, self.cancelled)


class Broken(Engine):
    """An engine in which nothing works, and that takes its time over it."""

    name = "restate"
    resumes = True

    def __init__(self) -> None:
        self.hangs = threading.Event()

    def _fail(self, *_: Any, **__: Any) -> Any:
        self.hangs.wait(LEASE / 2)
        raise RuntimeError("Restate refused with 418")

    submit = cancel = wake = find_lost = _fail


def a_row(engine: str, phase: str = "queued") -> UUID:
    new = NewExecution(
        id=new_id(),
        task=f"tests.work.{engine}",
        queue="default",
        priority=0,
        arguments='{"args": [], "kwargs": {}}',
        engine=engine,
        reason="default",
        pinned=False,
        phase=phase,
    )
    ledger.execute(inserts.insert_one(new))
    return new.id


@pytest.fixture
def own(servers: Stack, database: None) -> Iterator[Configuration]:
    with ledger_database(servers):
        found = ledger_configuration()
        yield replace(found, lease_seconds=LEASE, relay_seconds=0.05)


def due(ids: Sequence[UUID]) -> None:
    ledger.execute(inserts.mark_unsent(ids))


def test_one_engines_trouble_does_not_stop_another(own: Configuration, caplog: pytest.LogCaptureFixture) -> None:
    celery, broken, health = Fake("celery"), Broken(), Health()
    engines: Any = {"restate": broken, "celery": celery}
    stranded, dead = a_row("restate"), a_row("celery")
    assert ledger.execute(claims.claim(id=dead, engine="celery", worker="dead", lease=30))
    ledger.execute(LEASES_RUN_OUT)
    due([stranded])
    relay = Relay(configuration=own, engines=engines, watch=health)
    with caplog.at_level(logging.WARNING):
        relay.round()
        relay.start()
        health.begin()
        try:
            # It takes over what a dead worker left though every round of the other engine fails, and is slow.
            until(lambda: dead in celery.sent, "nothing is taken over")
            fresh = a_row("celery")
            due([fresh])
            until(lambda: fresh in celery.sent, "Celery is not served")
            until(lambda: "418" in health.routes()[READY]({}).body, "the probe does not say it")
            assert "The relay to restate: " in health.routes()[READY]({}).body
            # What could not be sent is due again.
            assert Execution.objects.get(pk=stranded).due_at is not None
        finally:
            broken.hangs.set()
            relay.stop()
    assert len([text for text in caplog.messages if "looking for what was lost failed" in text]) == 1


def test_one_bad_reference_does_not_stop_the_others_of_its_batch(own: Configuration) -> None:
    rows = [a_row("celery") for _ in range(7)]
    celery = Fake("celery", refused=[rows[3]])
    due(rows)
    engines: Any = {"celery": celery}
    relay = Relay(configuration=own, engines=engines)
    relay.round()
    assert sorted(celery.sent) == sorted(set(rows) - {rows[3]})
    assert Execution.objects.get(pk=rows[3]).due_at is not None
    celery.refused.clear()
    ledger.execute(LATER)
    relay.round()
    assert celery.sent[-1] == rows[3]


def test_a_lease_that_ran_out_is_found_behind_a_backlog(own: Configuration, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stretch a round, so that no round grows with what waits; the oldest that were sent in each."""
    monkeypatch.setattr("tandem.relay.BATCH", 2)
    monkeypatch.setattr("tandem.relay._STRETCH", 3)
    rows = [a_row("celery") for _ in range(12)]
    engines: Any = {"celery": Fake("celery")}
    relay = Relay(configuration=replace(own, lease_seconds=0.0), engines=engines)
    for dead in (rows[0], rows[-1], rows[1], rows[6]):
        assert ledger.execute(claims.claim(id=dead, engine="celery", worker="dead", lease=30))
        ledger.execute(LEASES_RUN_OUT)
        rounds = 0
        while Execution.objects.get(pk=dead).phase == "running":
            relay.round()
            rounds += 1
            assert rounds <= 1 + len(rows) // 2


@pytest.mark.parametrize("since", ["the relay began", "a worker fell silent"])
def test_what_was_left_is_found_behind_any_backlog_in_a_round(
    own: Configuration, monkeypatch: pytest.MonkeyPatch, since: str
) -> None:
    """A relay takes nothing over for a lease after its start, and whatever had been left before that is found then."""
    monkeypatch.setattr("tandem.relay.BATCH", 2)
    monkeypatch.setattr("tandem.relay._STRETCH", 3)
    rows = [a_row("celery") for _ in range(12)]
    engines: Any = {"celery": Fake("celery")}
    relay = Relay(configuration=own, engines=engines)
    known = {"kind": "worker", "engine": "celery", "queues": [], "concurrency": 1, "running": 2, "stuck": 0}
    worker = Worker(id="dead", started_at=timezone.now(), **known)
    if since == "a worker fell silent":
        began = time.monotonic()
        while time.monotonic() < began + 2.1 * LEASE:
            relay.round()
    for dead in (rows[0], rows[-1]):
        assert ledger.execute(claims.claim(id=dead, engine="celery", worker="dead", lease=30))
    ledger.execute(LEASES_RUN_OUT)
    while Execution.objects.get(pk=rows[0]).phase == "running":
        if since == "a worker fell silent":
            worker.seen_at = timezone.now() - timedelta(seconds=2 * LEASE)
            worker.save()
        relay.round()
    assert Execution.objects.get(pk=rows[-1]).phase == "queued"


def test_a_walk_comes_round_however_much_is_enqueued_meanwhile(
    own: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tandem.relay.BATCH", 2)
    monkeypatch.setattr("tandem.relay._STRETCH", 3)
    rows = [a_row("celery") for _ in range(12)]
    engines: Any = {"celery": Fake("celery")}
    relay = Relay(configuration=replace(own, lease_seconds=0.0), engines=engines)
    for _ in range(3):
        relay.round()
    # The walk has come past it.
    assert ledger.execute(claims.claim(id=rows[3], engine="celery", worker="dead", lease=30))
    ledger.execute(LEASES_RUN_OUT)
    rounds = 0
    while Execution.objects.get(pk=rows[3]).phase == "running":
        for _ in range(4):
            a_row("celery")
        relay.round()
        rounds += 1
        assert rounds <= 30


def test_a_ledger_without_its_tables_ends_no_relay(own: Configuration) -> None:
    celery, health = Fake("celery"), Health()
    engines: Any = {"celery": celery}
    relay = Relay(configuration=own, engines=engines, watch=health)
    relay.round()
    relay.start()
    health.begin()
    try:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE tandem_execution RENAME TO elsewhere")
            until(lambda: "manage.py migrate" in health.routes()[READY]({}).body, "the probe does not say it")
            cursor.execute("ALTER TABLE elsewhere RENAME TO tandem_execution")
        row = a_row("celery")
        due([row])
        until(lambda: row in celery.sent, "it is not sent")
        until(lambda: health.routes()[READY]({}).status == 200, "the probe stays red")
    finally:
        relay.stop()
