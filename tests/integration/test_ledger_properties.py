"""The real ledger under any order of statements, by current and stale attempts, relays, parents of pools and people.

After each statement every invariant is checked, and at the end of each example the relay's own statements must bring
every execution to its end. `TANDEM_TEST_EXAMPLES` asks for so many examples, chosen at random.
"""

import os
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, multiple, rule, run_state_machine_as_test
from pytest_django.plugin import DjangoDbBlocker

from tandem.embedded.stack import Stack
from tandem.ledger import connection as ledger
from tandem.ledger.hot import attempts as attempts_
from tandem.ledger.hot import claims, inserts
from tandem.ledger.identity import derived_id
from tandem.ledger.operating import cancels, retries
from tandem.ledger.relaying import backlog, brokered, runtime
from tandem.ledger.rows import Claim, Lease
from tandem.ledger.statement import Statement
from tandem.ledger.suspension import wakes
from tests.integration.ledger_bodies import ERROR, LEASE, QUEUE, SIGNAL, TASK, Held, every_write, new_execution
from tests.integration.ledger_database import EMPTIED, LATER, LEASES_RUN_OUT, ledger_database
from tests.integration.ledger_invariants import INVARIANTS, Change, Row, Snapshot, snapshot

EXAMPLES = os.environ.get("TANDEM_TEST_EXAMPLES")
SETTINGS = settings(
    max_examples=int(EXAMPLES or 100),
    stateful_step_count=50,
    derandomize=EXAMPLES is None,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
ENGINES = st.sampled_from(["celery", "restate"])
WORKERS = st.sampled_from(["w1", "w2"])
CALLS = st.lists(st.sampled_from(["step", "sleep", "wait", "call"]), max_size=4)
PHASES = {"celery": ("queued", "deferred", "retrying", "sleeping"), "restate": ("queued", "deferred")}


@pytest.fixture
def own_database(servers: Stack, django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock(), ledger_database(servers):
        yield


class LedgerMachine(RuleBasedStateMachine):
    """A few executions, every claim ever answered, and whatever may be said of them."""

    executions: Bundle[UUID] = Bundle("executions")
    attempts: Bundle[Held] = Bundle("attempts")

    def __init__(self) -> None:
        super().__init__()
        ledger.execute(EMPTIED)
        self.now: Snapshot = ledger.execute(snapshot())
        self.count = 0
        self.sound = True
        self.bodies: dict[UUID, list[str]] = {}

    def say[T](self, statement: Statement[T]) -> T:
        """Execute a statement and check what it changed."""
        before = self.now
        answer = ledger.execute(statement)
        self.now = ledger.execute(snapshot())
        self.sound = False
        change = Change(statement, answer, before, self.now)
        for invariant in INVARIANTS:
            invariant(change)
        self.sound = True
        return answer

    def row(self, id_: UUID) -> Row:
        return self.now.executions[str(id_)]

    # --- enqueue and claim ---------------------------------------------------------------------------------------

    @rule(target=executions, engine=ENGINES, phase=st.sampled_from(["queued", "queued", "held"]), calls=CALLS)
    def insert(self, engine: str, phase: str, calls: list[str]) -> UUID:
        self.count += 1
        id_ = derived_id("properties", str(self.count))
        self.bodies[id_] = calls
        self.say(inserts.insert_one(new_execution(id_, engine=engine, phase=phase)))
        return id_

    @rule(target=executions, parent=executions)
    def child(self, parent: UUID) -> Any:
        children = sorted(id_ for id_, row in self.now.executions.items() if row["parent"] == str(parent))
        return UUID(children[0]) if children else multiple()

    @rule(target=attempts, id_=executions, worker=WORKERS)
    def deliver(self, id_: UUID, worker: str) -> Any:
        """As a worker or a handler does for each message, however often it is delivered."""
        return self.entered(id_, worker)

    @rule(target=attempts, id_=executions, worker=WORKERS, old=st.booleans())
    def deliver_another(self, id_: UUID, worker: str, *, old: bool) -> Any:
        """A message of the other engine, of an older dispatch_number, or another invocation of this one."""
        if self.row(id_)["engine"] == "celery" and old:
            assert self.say(claims.claim(id=id_, engine="restate", worker=worker, lease=LEASE)) is None
            return multiple()
        return self.entered(id_, worker, old=old, other=True)

    def entered(self, id_: UUID, worker: str, *, old: bool = False, other: bool = False) -> Any:
        """What a rule adds to the attempts: one, or none where there was nothing to claim."""
        dispatch_number = self.row(id_)["dispatch_number"] - int(old)
        entry = claims.claim(id=id_, engine="celery", worker=worker, lease=LEASE)
        if self.row(id_)["engine"] == "restate":
            entry = claims.claim_invocation(
                id=id_,
                task=TASK,
                engine="restate",
                worker=worker,
                lease=LEASE,
                dispatch_number=dispatch_number,
                invocation=f"inv-{dispatch_number}{'-other' * other}",
            )
        return self.held(self.say(entry))

    def held(self, claim: Claim | None) -> Any:
        return multiple() if claim is None else Held(claim, self.bodies.get(claim.id, ()))

    # --- attempts, whether they hold their claim or not ----------------------------------------------------------

    @rule(held=attempts, most=st.integers(1, 20))
    def go_on(self, held: Held, most: int) -> None:
        """Run so many statements of a body, which is then left where it is: cut off, or gone on with later."""
        for _ in range(most):
            if held.next is None:
                break
            held.answer(self.say(held.next))

    @rule(held=attempts, how=st.sampled_from(["failed", "dead", "retry_later", "not counted", "park", "progress"]))
    def report(self, held: Held, how: str) -> None:
        said: dict[str, Statement[Any]] = {
            "retry_later": attempts_.retry_later(held.claim.lease, seconds=1, counted=True, error=ERROR),
            "not counted": attempts_.retry_later(held.claim.lease, seconds=1, counted=False, error=ERROR),
            "park": attempts_.park(held.claim.lease, error=ERROR),
            "progress": attempts_.progress(held.claim.lease, current=1, total=2, message=how),
        }
        self.say(said.get(how) or attempts_.finish(held.claim.lease, outcome=how, result=None, error=ERROR))

    @rule(held=attempts)
    def write_too_late(self, held: Held) -> None:
        """Every write that an attempt has, by one whose claim is no longer the newest."""
        row = self.row(held.claim.id)
        if held.claim.fence < row["fence"]:
            for write in every_write(held.claim, wake_generation=row["wake_generation"]):
                self.say(write)

    @rule(held=attempts)
    def release(self, held: Held) -> None:
        if held.claim.engine == "restate":
            self.say(claims.release(held.claim.lease))
            held.stop()

    @rule(target=attempts, held=attempts, worker=WORKERS)
    def supersede(self, held: Held, worker: str) -> Any:
        """An attempt is frozen past its lease, another takes its execution, and it goes on as if nothing had been."""
        self.leases_run_out()
        self.requeue_expired(3)
        self.send_due("celery")
        newer = self.entered(held.claim.id, worker)
        self.go_on(held, 1)
        self.write_too_late(held)
        return newer

    # --- processes and relays ------------------------------------------------------------------------------------

    @rule(worker=WORKERS, back=st.sampled_from([0, 0, 1]))
    def heartbeat(self, worker: str, back: int) -> None:
        """For leases that are the newest, or were."""
        leases = [
            Lease(id=UUID(id_), fence=row["fence"] - back, worker=worker) for id_, row in self.now.executions.items()
        ]
        beat = claims.heartbeat(
            worker=worker, kind="worker", engine="", queues=(), concurrency=1, stuck=0, leases=leases, seconds=LEASE
        )
        for lease in self.say(beat):
            assert lease.fence == self.row(lease.id)["fence"]

    @rule(id_=executions, worker=WORKERS)
    def requeue_dead(self, id_: UUID, worker: str) -> None:
        if self.row(id_)["engine"] == "celery":
            self.say(backlog.requeue_dead(id=id_, worker=worker, most=3))

    @rule(target=attempts, id_=executions, worker=WORKERS)
    def fence_off(self, id_: UUID, worker: str) -> Any:
        if self.row(id_)["engine"] != "celery":
            return multiple()
        return self.held(self.say(brokered.fence_off(id=id_, worker=worker)))

    @rule(held=attempts)
    def cancel_killed(self, held: Held) -> None:
        self.say(brokered.cancel_killed(held.claim.lease))

    @rule(held=attempts)
    def requeue(self, held: Held) -> None:
        if held.claim.engine == "celery":
            self.say(brokered.requeue([held.claim.lease]))

    @rule()
    def leases_run_out(self) -> None:
        self.say(LEASES_RUN_OUT)

    @rule()
    def time_passes(self) -> None:
        self.say(LATER)

    @rule(most=st.sampled_from([1, 3]))
    def requeue_expired(self, most: int) -> None:
        found = self.say(backlog.expired(engine="celery", queue=QUEUE, after=None, limit=100))
        self.say(backlog.requeue_expired(found.ids, most=most))

    @rule(engine=ENGINES, failed=st.booleans())
    def send_due(self, engine: str, *, failed: bool = False) -> None:
        taken = backlog.take_due(engine=engine, queue=QUEUE, phases=PHASES[engine], broker_epoch="e", limit=100)
        due = self.say(taken)
        if failed:
            self.say(inserts.mark_unsent([row.id for row in due]))

    @rule(id_=executions)
    def lost_on_the_way(self, id_: UUID) -> None:
        if self.row(id_)["engine"] == "celery":
            self.say(brokered.mark_lost([id_]))

    @rule(engine=ENGINES)
    def recheck(self, engine: str, *, gone: bool = False) -> None:
        waiters = self.say(wakes.recheck(engine=engine, queue=QUEUE, limit=100, sends=engine == "celery"))
        ready = [waiter for waiter in waiters if waiter.ready and gone]
        found = list(ready)
        self.say(runtime.send_again(dict.fromkeys(found, (True, "gone")), engine="restate"))

    @rule(ended=st.booleans(), alive=st.booleans())
    def reconcile(self, *, ended: bool = True, alive: bool = False) -> None:
        """Restate is asked for what should have moved on: it has it, has ended it, or never heard of it."""
        suspects = self.say(runtime.suspects(engine="restate", queue=QUEUE, age=0, lease=0, limit=100))
        again = runtime.send_again(dict.fromkeys(suspects, (ended, "gone")), engine="restate")
        self.say(runtime.seen_alive([suspect.id for suspect in suspects], engine="restate") if alive else again)

    # --- people --------------------------------------------------------------------------------------------------

    @rule(id_=executions, told=st.booleans())
    def signal(self, id_: UUID, *, told: bool) -> None:
        self.count += 1
        self.say(wakes.send_signal(id=id_, name=SIGNAL, payload=self.count, by=None))
        if told:
            self.say(wakes.wake(id_))

    @rule(id_=executions)
    def cancel(self, id_: UUID) -> None:
        self.say(cancels.cancel(id=id_, by="anna"))

    @rule(id_=executions, engine=st.none() | ENGINES)
    def retry(self, id_: UUID, engine: str | None) -> None:
        self.say(retries.retry(id=id_, engine=engine))

    def teardown(self) -> None:
        """Every process dies and each broker forgets: what the relay finds again, workers run to its end."""
        for _ in range(20 * self.sound):
            unfinished = [UUID(id_) for id_, row in self.now.executions.items() if row["outcome"] is None]
            if not unfinished:
                return
            self._relay()
            for id_ in unfinished:
                if self.row(id_)["phase"] == "queued" and self.row(id_)["due_at"] is None:
                    self._run(id_)
        assert not self.sound, f"Not brought to an end: {[self.row(id_) for id_ in unfinished]}"

    def _run(self, id_: UUID) -> None:
        held = self.entered(id_, "w3")
        if isinstance(held, Held):
            self.go_on(held, 100)

    def _relay(self) -> None:
        for id_, row in list(self.now.executions.items()):
            if row["phase"] in {"parked", "held"}:
                self.retry(UUID(id_), None)
        self.leases_run_out()
        self.time_passes()
        self.requeue_expired(3)
        self.recheck("celery")
        self.recheck("restate", gone=True)
        self.reconcile()
        self.say(
            brokered.mark_lost([UUID(id_) for id_, row in self.now.executions.items() if row["engine"] == "celery"])
        )
        self.send_due("celery")
        self.send_due("restate")


@pytest.mark.usefixtures("own_database")
def test_the_ledger_keeps_its_invariants() -> None:
    run_state_machine_as_test(LedgerMachine, settings=SETTINGS)


@pytest.mark.usefixtures("own_database")
def test_an_execution_that_was_claimed_while_it_was_due_is_found_again() -> None:
    machine = LedgerMachine()
    id_ = derived_id("properties", "1")
    machine.insert("celery", "queued", [])
    machine.say(brokered.mark_lost([id_]))
    machine.deliver(id_, "w1")
    machine.teardown()
    assert machine.row(id_)["lost_leases"] == 1
