"""References on a real Redis: what Celery finds there, what is lost and found again, a broker that is down."""

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from celery import Celery
from django.db import connection
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.messaging import Consumer

from tandem.configuration import Configuration
from tandem.engines.base import Reference
from tandem.engines.celery.engine import CeleryEngine
from tandem.engines.celery.lists import STEPS, step_of
from tandem.exceptions import BrokerUnavailable
from tandem.ledger import connection as ledger
from tandem.ledger.hot import inserts
from tandem.ledger.identity import new_id
from tandem.ledger.models import Execution
from tandem.ledger.rows import NewExecution
from tests.celery_work.stage import Broker, Stage, until
from tests.work import tasks

LEASE = 3.0


def rows(count: int, **changes: Any) -> list[Reference]:
    """Queued rows, not yet sent."""
    references = []
    for _ in range(count):
        values: dict[str, Any] = {
            "id": new_id(),
            "task": "tests.work.tasks.noop",
            "queue": "default",
            "priority": 0,
            "arguments": '{"args": [], "kwargs": {}}',
            "engine": "celery",
            "reason": "default",
            "pinned": False,
            "phase": "queued",
        } | changes
        new = NewExecution(**values)
        ledger.execute(inserts.insert_one(new))
        references.append(Reference(id=new.id, task=new.task, queue=new.queue, priority=new.priority))
    return references


def send(engine: CeleryEngine, references: list[Reference]) -> None:
    epoch = engine.submit(references)
    ledger.execute(inserts.mark_sent([reference.id for reference in references], epoch))


def age(references: list[Reference], seconds: float) -> None:
    """Make rows older, the first the most, as if sent one after the other."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE tandem_execution SET sent_at = now() - (%s + place * 0.001) * interval '1 second'"
            " FROM unnest(%s::uuid[]) WITH ORDINALITY AS older(id, place) WHERE tandem_execution.id = older.id",
            [seconds, [reference.id for reference in reversed(references)]],
        )


def due() -> set[UUID]:
    return set(Execution.objects.filter(due_at__isnull=False).values_list("id", flat=True))


def ids(references: list[Reference]) -> set[UUID]:
    return {reference.id for reference in references}


def on_list(stage: Stage, key: str) -> list[UUID]:
    """The ids on a list, in the order in which they are served."""
    with stage.broker.client as client:
        messages: Any = client.lrange(key, 0, -1)
    return [UUID(json.loads(message)["headers"]["id"]) for message in reversed(messages)]


def test_a_message_is_what_celery_itself_puts_on_the_list(celery: Stage) -> None:
    theirs = Celery("theirs", broker=celery.broker.url, set_as_current=False, fixups=[])
    theirs.conf.update(broker_transport_options={"sep": ":"}, task_ignore_result=True)
    theirs.send_task("tests.work.tasks.too_long", queue="default", priority=3, time_limit=1.5, soft_time_limit=0.5)
    celery.engine.submit([Reference(id=new_id(), task="tests.work.tasks.too_long", queue="default", priority=10)])
    with celery.broker.client as client:
        found: Any = client.lrange("default:3", 0, -1)
    ours, original = (json.loads(message) for message in found)
    own = {"id", "root_id", "origin", "argsrepr", "kwargsrepr", "ignore_result"}
    # By which a worker knows ours, whose task's module it has not imported yet.
    del ours["headers"]["tandem"]
    assert ours.keys() == original.keys()
    assert ours["headers"].keys() == original["headers"].keys()
    assert {key: value for key, value in ours["headers"].items() if key not in own} == {
        key: value for key, value in original["headers"].items() if key not in own
    }
    own = {"correlation_id", "delivery_tag", "reply_to"}
    assert ours["properties"].keys() == original["properties"].keys()
    assert {key: value for key, value in ours["properties"].items() if key not in own} == {
        key: value for key, value in original["properties"].items() if key not in own
    }
    assert ours["headers"]["timelimit"] == [1.5, 0.5]
    assert ours["body"] == original["body"]


def test_every_send_of_one_reference_has_a_delivery_tag_of_its_own(celery: Stage) -> None:
    reference = Reference(id=new_id(), task="tests.work.tasks.noop", queue="default", priority=0)
    celery.engine.submit([reference, reference])
    celery.engine.submit([reference])
    with celery.broker.client as client:
        messages: Any = client.lrange("default:6", 0, -1)
    tags = {json.loads(message)["properties"]["delivery_tag"] for message in messages}
    assert len(messages) == len(tags) == 3


def test_a_celery_worker_that_knows_nothing_of_tandem_takes_it(celery: Stage) -> None:
    worker = celery.spawn(
        "-m", "celery", "-A", "tests.celery_work.plain", "worker", "--pool", "solo", ready=False, environment={"DJANGO_SETTINGS_MODULE": ""},
    )  # fmt: skip
    reference = Reference(id=new_id(), task="tests.work.tasks.noop", queue="default", priority=0)
    celery.engine.submit([reference])
    lines = until(lambda: celery.effects("plain-worker"), seconds=60, what=worker.text)
    assert [line[2] for line in lines] == [str(reference.id)]


def test_kombu_serves_the_lists_in_the_order_of_priority(celery: Stage) -> None:
    priorities = [-100, 0, 1, 100, 49, -50, 50, -49, 99, -1]
    sent = {
        queue: [
            Reference(id=new_id(), task="tests.work.tasks.noop", queue=queue, priority=priority)
            for priority in priorities
        ]
        for queue in ("default", "other")
    }
    for references in sent.values():
        celery.engine.submit(references)
    order = _consume(celery, list(sent), count=2 * len(priorities))
    of_id = {reference.id: reference for references in sent.values() for reference in references}
    steps = [step_of(of_id[id_].priority) for id_ in order]
    assert steps == sorted(steps)
    for queue, references in sent.items():
        served = [id_ for id_ in order if of_id[id_].queue == queue]
        expected = sorted(references, key=lambda reference: step_of(reference.priority))
        assert served == [reference.id for reference in expected], "within a step, the first sent is the first served"


def _consume(stage: Stage, queues: list[str], count: int) -> list[UUID]:
    options = {"sep": ":", "priority_steps": list(STEPS), "queue_order_strategy": "round_robin"}
    order: list[UUID] = []

    def take(_body: Any, message: Any) -> None:
        order.append(UUID(message.headers["id"]))
        message.ack()

    exchange = Exchange("tandem", type="direct")
    with (
        Connection(stage.broker.url, transport_options=options) as client,
        client.channel() as channel,
        Consumer(
            channel, [Queue(name, exchange, routing_key=name) for name in queues], callbacks=[take], accept=["json"]
        ) as consumer,
    ):
        consumer.qos(prefetch_count=1)
        deadline = time.monotonic() + 20
        while len(order) < count and time.monotonic() < deadline:
            client.drain_events(timeout=5)
    return order


@pytest.mark.parametrize(
    ("priority", "key"), [(100, "default"), (50, "default"), (49, "default:3"), (0, "default:6"), (-50, "default:9")]
)
def test_djangos_priority_chooses_the_list(celery: Stage, priority: int, key: str) -> None:
    reference = Reference(id=new_id(), task="tests.work.tasks.noop", queue="default", priority=priority)
    celery.engine.submit([reference])
    assert on_list(celery, key) == [reference.id]


def test_an_enqueue_knows_the_epoch_of_its_own_push(celery: Stage) -> None:
    result = tasks.noop.enqueue()
    with celery.broker.client as client:
        epoch: Any = client.get("tandem:epoch")
    row = celery.row(result.id)
    assert (row.broker_epoch, row.due_at, row.phase) == (epoch.decode(), None, "queued")
    assert on_list(celery, "default:6") == [row.id]


def test_a_wiped_broker_gets_each_queued_row_once_more(celery: Stage) -> None:
    references = [
        *rows(30),
        *rows(5, queue="other", priority=80),
    ]
    send(celery.engine, references)
    assert celery.engine.find_lost(lease=LEASE) == 0
    before = celery.engine.epoch()
    with celery.broker.client as client:
        client.flushall()
    assert celery.engine.find_lost(lease=LEASE) == 35
    assert due() == ids(references)
    assert celery.engine.epoch() != before
    assert celery.engine.find_lost(lease=LEASE) == 0
    with celery.relay():
        until(lambda: not due(), what="the relay sent them")
    assert sorted(on_list(celery, "default:6")) == sorted(ids(references[:30]))
    assert sorted(on_list(celery, "other")) == sorted(ids(references[30:]))
    assert celery.engine.find_lost(lease=LEASE) == 0


def test_another_relay_process_finds_a_wiped_broker_too(celery: Stage) -> None:
    references = rows(3)
    send(celery.engine, references)
    with celery.broker.client as client:
        client.flushall()
    assert CeleryEngine(celery.backend.configuration).find_lost(lease=LEASE) == 3


def test_a_long_backlog_is_not_sent_again_for_being_long(celery: Stage) -> None:
    references = rows(300)
    send(celery.engine, references)
    age(references, 3600)
    assert celery.engine.find_lost(lease=LEASE) == 0
    assert CeleryEngine(celery.backend.configuration).find_lost(lease=LEASE) == 0
    assert len(on_list(celery, "default:6")) == 300


def test_what_is_older_than_the_head_and_unclaimed_for_a_lease_is_sent_again(celery: Stage) -> None:
    lost, kept = rows(4), rows(40)
    send(celery.engine, lost)
    with celery.broker.client as client:
        client.delete("default:6")
    send(celery.engine, kept)
    age(kept, 60)
    age(lost, 600)
    # A worker may have taken them a moment ago: only what is seen so for a lease is lost.
    assert celery.engine.find_lost(lease=LEASE) == 0
    assert celery.engine.find_lost(lease=LEASE) == 0
    assert celery.engine.find_lost(lease=0) == 4
    assert due() == ids(lost)


def test_each_list_of_a_queue_is_judged_by_its_own_head(celery: Stage) -> None:
    early, late = rows(3, priority=60), rows(3, priority=-60)
    send(celery.engine, early)
    send(celery.engine, late)
    age(early, 600)
    age(late, 900)
    with celery.broker.client as client:
        client.delete("default")
    assert celery.engine.find_lost(lease=0) == 3
    assert due() == ids(early)


def test_what_is_unclaimed_for_a_lease_is_sent_again_and_not_called_lost(
    celery: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    references = rows(2)
    send(celery.engine, references)
    with celery.broker.client as client:
        client.delete("default:6")
    assert celery.engine.find_lost(lease=LEASE) == 0
    with caplog.at_level(logging.INFO, "tandem.relay"):
        until(lambda: celery.engine.find_lost(lease=0.2) == 2, what="what is lost is sent again")
    assert due() == ids(references)
    # A worker that was told to end may have had them.
    assert "2 execution(s) that celery passed on are not claimed for a lease: sent again." in caplog.messages
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
    send(celery.engine, more := rows(1))
    with celery.broker.client as client:
        client.set("tandem:epoch", "another")
    assert celery.engine.find_lost(lease=LEASE) == len(more)
    assert caplog.messages[-1] == "1 execution(s) were lost on the way to celery and are sent again."


def test_what_a_worker_claims_within_a_lease_is_not_sent_again(celery: Stage) -> None:
    references = rows(2)
    send(celery.engine, references)
    with celery.broker.client as client:
        client.delete("default:6")
    assert celery.engine.find_lost(lease=LEASE) == 0
    Execution.objects.filter(pk=references[0].id).update(phase="running")
    assert celery.engine.find_lost(lease=0) == 1
    assert due() == {references[1].id}


def test_behind_strange_messages_nothing_is_sent_again(celery: Stage) -> None:
    references = rows(3)
    send(celery.engine, references)
    plain = Celery("theirs", broker=celery.broker.url, set_as_current=False, fixups=[])
    plain.conf.broker_transport_options = {"sep": ":"}
    with celery.broker.client as client:
        client.delete("default:6")
    for _ in range(25):
        plain.send_task("theirs", queue="default", priority=6)
    assert celery.engine.find_lost(lease=LEASE) == 0


def test_a_reference_that_was_sent_twice_does_not_condemn_what_stands_behind_it(celery: Stage) -> None:
    first, behind = rows(1), rows(30)
    send(celery.engine, first)
    send(celery.engine, behind)
    age(behind, 600)
    age(first, 60)
    assert celery.engine.find_lost(lease=LEASE) == 0


def test_a_restarted_server_changes_the_epoch_once(celery: Stage) -> None:
    """It may have come back with an old snapshot, in which the epoch is the old one too."""
    references = rows(5)
    send(celery.engine, references)
    assert celery.engine.find_lost(lease=LEASE) == 0
    before = celery.engine.epoch()
    with celery.broker.client as client:
        client.set("tandem:run", "an earlier life")
    assert celery.engine.find_lost(lease=LEASE) == 5
    after = celery.engine.epoch()
    others = [CeleryEngine(celery.backend.configuration) for _ in range(3)]
    assert [other.find_lost(lease=LEASE) for other in others] == [0, 0, 0]
    assert {other.epoch() for other in others} == {after}
    assert after != before


def test_rows_that_are_not_queued_are_left_alone(celery: Stage) -> None:
    references = rows(6)
    send(celery.engine, references)
    age(references, 600)
    phases = ["running", "sleeping", "parked", "held", "retrying"]
    for reference, phase in zip(references[1:], phases, strict=True):
        Execution.objects.filter(pk=reference.id).update(phase=phase)
    with celery.broker.client as client:
        client.flushall()
    assert celery.engine.find_lost(lease=LEASE) == 1
    assert due() == {references[0].id}


def test_a_key_prefix_is_before_every_key(celery: Stage) -> None:
    options = {"ENGINES": {"celery": {"BROKER_URL": celery.broker.url, "KEY_PREFIX": "shop:"}}}
    engine = CeleryEngine(Configuration.read("default", {"QUEUES": ["default"], "OPTIONS": options}))
    references = rows(2)
    send(engine, references)
    assert engine.find_lost(lease=LEASE) == 0
    with celery.broker.client as client:
        keys: Any = client.keys("*")
    assert sorted(keys) == [b"shop:default:6", b"shop:tandem:epoch", b"shop:tandem:run"]


def engine_on(broker: Broker, url: str | None = None) -> CeleryEngine:
    options = {"ENGINES": {"celery": {"BROKER_URL": url or broker.url, "BREAKER_SECONDS": 0.5}}}
    return CeleryEngine(Configuration.read("default", {"OPTIONS": options}))


def one() -> list[Reference]:
    return [Reference(id=new_id(), task="tests.work.tasks.noop", queue="default", priority=0)]


@pytest.fixture
def broker(tmp_path: Any) -> Iterator[Broker]:
    made = Broker(tmp_path)
    yield made
    made.stop()


def timed_refusals(engine: CeleryEngine) -> tuple[float, float]:
    """How long the first and the next callers wait for their refusal."""
    took = []
    for _ in range(2):
        started = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            engine.submit(one())
        took.append(time.monotonic() - started)
    return took[0], took[1]


@pytest.mark.parametrize("how", ["never there", "gone", "frozen", "frozen before the first call"])
def test_a_broker_that_is_down_costs_one_caller_under_a_second(celery: Stage, broker: Broker, how: str) -> None:
    engine = engine_on(broker)
    celery.engine.submit(one())  # The message's template is no part of the broker's time.
    if how != "never there":
        broker.start()
        if how != "frozen before the first call":
            engine.submit(one())
        broker.send(signal.SIGSTOP if how.startswith("frozen") else signal.SIGKILL)
    engine._messages.message(one()[0])
    first, next_one = timed_refusals(engine)
    assert first < 1.0
    assert next_one < 0.05


def test_sending_goes_on_when_the_broker_is_back(celery: Stage, broker: Broker) -> None:
    engine = engine_on(broker)
    broker.start()
    before = engine.submit(one())
    broker.stop()
    timed_refusals(engine)
    broker.start()
    after = until(lambda: _try(engine), what="the breaker closes")
    assert after != before


def _try(engine: CeleryEngine) -> str | None:
    try:
        return engine.submit(one())
    except BrokerUnavailable:
        return None


def test_an_enqueue_with_the_broker_down_succeeds_and_waits_for_the_relay(celery: Stage) -> None:
    tasks.noop.enqueue()
    celery.broker.stop()
    try:
        result = tasks.noop.enqueue()
        row = celery.row(result.id)
        assert row.phase == "queued"
        assert row.due_at is not None
        with pytest.raises(BrokerUnavailable):
            celery.engine.find_lost(lease=LEASE)
    finally:
        celery.broker.start()
    until(lambda: _try(celery.engine), what="the breaker closes")
    with celery.relay():
        until(lambda: not due(), what="the relay sent it")
    assert row.id in on_list(celery, "default:6")


@pytest.mark.parametrize(
    ("options", "url", "words"),
    [
        (("--maxmemory", "1kb", "--maxmemory-policy", "noeviction"), None, "is full"),
        (("--requirepass", "secret"), "redis://:wrong@127.0.0.1:{port}/0", "refuses this user or password"),
        (("--requirepass", "secret"), "redis://127.0.0.1:{port}/0", "refuses this user or password"),
        (("--replicaof", "127.0.0.1", "1"), None, "read-only replica"),
    ],
)
def test_a_broker_that_refuses_says_why_in_plain_words(
    broker: Broker, options: tuple[str, ...], url: str | None, words: str
) -> None:
    if "--requirepass" not in options:
        broker.options = options
        broker.start()
    else:
        broker.start()
        with broker.client as client:
            client.config_set("requirepass", "secret")
    with pytest.raises(BrokerUnavailable, match=words) as raised:
        engine_on(broker, None if url is None else url.format(port=broker.port)).submit(one())
    assert "wrong@" not in str(raised.value)


def test_a_fork_uses_no_connection_of_its_parent(celery: Stage) -> None:
    references = rows(40)
    celery.engine.submit(references[:1])
    child = os.fork()
    if child == 0:
        status = 1
        try:
            celery.engine.submit(references[1:20])
            status = 0
        finally:
            os._exit(status)
    celery.engine.submit(references[20:])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sorted(on_list(celery, "default:6")) == sorted(ids(references))


def test_threads_share_the_engine(celery: Stage) -> None:
    references = rows(80)
    threads = [threading.Thread(target=celery.engine.submit, args=(references[n::8],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(on_list(celery, "default:6")) == sorted(ids(references))


def test_check_says_what_is_wrong_with_the_broker(celery: Stage) -> None:
    assert celery.engine.check() == []
    with celery.broker.client as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            (text,) = celery.engine.check()
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert "maxmemory-policy noeviction" in text


def test_check_names_a_broker_that_cannot_be_reached_without_its_password(broker: Broker) -> None:
    (text,) = engine_on(broker, f"redis://user:secret@127.0.0.1:{broker.port}/0").check()
    assert f"redis://127.0.0.1:{broker.port}/0 cannot be reached" in text
    assert "secret" not in text


def test_check_names_a_queue_that_nobody_consumes(celery: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO tandem_worker (id, kind, engine, queues, concurrency, running, stuck, started_at, seen_at)"
            " VALUES ('w', 'worker', 'celery', '[\"default\", \"other\"]', 1, 0, 0, now(), now())"
        )
    (text,) = celery.engine.check()
    assert "'emails'" in text
    assert "--queues emails" in text
    # Its pool has no pods while it has no work.
    monkeypatch.setenv("TANDEM_SCALED_TO_ZERO", "celery/emails")
    assert celery.engine.check() == []
    send(celery.engine, references := rows(1, queue="emails"))
    assert celery.engine.check() == []
    age(references, 61)
    (text,) = celery.engine.check()
    assert "queue 'emails', though 1 execution(s) have waited for one for over 60 s: the autoscaler starts none" in text
