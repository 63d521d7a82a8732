"""One size: a ledger of its own, its connections opened while it was empty, filled, and asked what it costs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Final

import psycopg
from django.db import connections

from benchmarks.growth.clock import Clock, Spread
from benchmarks.growth.filling import DAYS, Filling, a_row
from benchmarks.paired import Comparison
from tandem.configuration import Configuration
from tandem.engines.base import Engine
from tandem.ledger import connection as ledger
from tandem.ledger.hot import attempts, claims, inserts
from tandem.ledger.operating import pruning
from tandem.ledger.relaying import backlog, outbox, runtime
from tandem.ledger.statement import Statement
from tandem.ledger.suspension import wakes
from tandem.management.arguments import filtered
from tandem.relay import Lane, Relay

__all__ = ["EMPTY", "PAGES", "STATES", "Level", "ledger_in"]

EMPTY: Final = "tandem"
"""The database whose ledger stays empty: beside each execution of a full one, one of it is measured."""

STATES: Final = ("never analyzed", "vacuumed", "a vacuum is due")

PAGES: Final[Mapping[str, Mapping[str, str]]] = {
    "list": {},
    "list --phase failed,dead": {"phase": "failed,dead"},
    "list --phase parked": {"phase": "parked"},
    "list --phase held, none is": {"phase": "held"},
    "list --task ... --since 1h": {"task": "shop.tasks.charge", "since": "1h"},
    "list --owner, who has some": {"owner": "user:76"},
    "list --owner, who has none": {"owner": "nobody"},
}

_LEASE_SECONDS: Final = 1.0
_BLOCKS: Final = 5
_ROUNDS: Final = 15
_PAGES_ASKED: Final = 3
_PRUNED: Final = 1_000
_MOST_PRUNES: Final = 200
# As the migration has it: dead rows of a fiftieth of the table, and a thousand, have it vacuumed.
_DEAD_SHARE: Final = 50
_DEAD_LEAST: Final = 1_000

_SIZES: Final = """
SELECT relname, pg_relation_size(oid), CASE relkind WHEN 'i' THEN 'index' ELSE 'table' END
FROM pg_class WHERE relname ~ '^tandem_(execution|step)' AND relkind IN ('r', 'i') ORDER BY relkind DESC, relname
"""


@contextmanager
def ledger_in(database: str) -> Iterator[None]:
    """Have Django, and so Tandem, use a database of that name."""
    default = connections[ledger.LEDGER_DATABASE]
    before = default.settings_dict["NAME"]
    try:
        default.settings_dict["NAME"] = database
        yield
    finally:
        ledger.close()
        default.close()
        default.settings_dict["NAME"] = before


@dataclass(kw_only=True)
class Level:
    """Measures one ledger. Its own connection of this thread is the long-lived one, as a worker's or a relay's is."""

    name: str
    size: int
    waiting: int
    executions: int
    administrator: psycopg.Connection[Any]
    configuration: Configuration
    engine: Callable[[], Engine]
    say: Callable[[str], None]
    found: dict[str, dict[str, Spread]] = field(default_factory=dict)
    sizes: list[dict[str, Any]] = field(default_factory=list)
    _asked: int = 0

    def run(self) -> None:
        """Open the connections, have them prepare all that they ask, fill, and measure in each state."""
        self._engine = self.engine()
        self._old = Clock(connection=ledger.own_connection())
        self._relay = Relay(
            configuration=replace(self.configuration, lease_seconds=_LEASE_SECONDS), engines={"celery": self._engine}
        )
        with Clock.fresh(dbname=EMPTY).connection as empty:
            self._empty = Clock(connection=empty)
            self._prepare()
            self._fill()
            self._measure(STATES[0], fresh=None)
            self._maintain("VACUUM ANALYZE")
            with Clock.fresh().connection as connection:
                self._measure(STATES[1], fresh=Clock(connection=connection))
            self._pages()
            self.say("a fiftieth more comes, runs and ends; nothing vacuums")
            filling = Filling(connection=self.administrator, say=self.say)
            filling.pass_through(self.size // _DEAD_SHARE + _DEAD_LEAST, self._engine.epoch())
            self._measure(STATES[2], fresh=None)
            self._prune()
        self._maintain("VACUUM")
        self._weigh()

    def _prepare(self) -> None:
        """Ask all while there is nothing, more often than a plan of its own is made for each."""
        for _ in range(8):
            self._execution(self._old, key=None)
            self._round()
            self._looking(self._old)
            self._old.ask(pruning.prune(days=DAYS, limit=_PRUNED))
            self._engine.load()
        self.administrator.execute("TRUNCATE tandem_execution, tandem_step")

    def _fill(self) -> None:
        filling = Filling(connection=self.administrator, say=self.say)
        self.say(f"filling {self.size:,} finished and {self.waiting:,} waiting")
        filling.finished(self.size)
        filling.waiting(self.waiting, self._engine)

    def _maintain(self, statement: str) -> None:
        self.say(statement)
        self.administrator.execute(statement.encode())

    def _measure(self, state: str, *, fresh: Clock | None) -> None:
        self.say(f"measuring: {state}")
        full = {f"{state}, long-lived": self._old} | ({f"{state}, fresh": fresh} if fresh else {})
        self._hot(full)
        self._idle(state)
        for place, clock in full.items():
            some = [self._looking(clock) for _ in range(_ROUNDS)]
            for name in some[0]:
                self._keep(name, place, [times[name] for times in some])

    def _keep(self, name: str, place: str, values: list[float]) -> None:
        self.found.setdefault(name, {})[place] = Spread.of(values)

    def _hot(self, full: Mapping[str, Clock]) -> None:
        """Executions on each connection in turn, beside one in the empty ledger; ratios are taken within a block."""
        with psycopg.connect(**_elsewhere(self.administrator, EMPTY), autocommit=True) as connection:
            connection.execute("TRUNCATE tandem_execution, tandem_step")
        clocks = {EMPTY: self._empty, **full}
        for clock in clocks.values():
            for number in range(12):
                self._execution(clock, key=f"warm-{id(clock)}-{self._asked}-{number}" if number % 2 else None)
        taken: dict[str, dict[str, list[list[float]]]] = {}
        for _ in range(_BLOCKS):
            block: dict[tuple[str, str], list[float]] = {}
            for number in range(self.executions):
                for place, clock in clocks.items():
                    self._asked += 1
                    times = self._execution(clock, key=f"key-{self._asked}" if number % 4 == 0 else None)
                    for name, milliseconds in times.items():
                        block.setdefault((name, place), []).append(milliseconds)
            for (name, place), values in block.items():
                taken.setdefault(name, {}).setdefault(place, []).append(values)
        for name, places in taken.items():
            base = [median(values) for values in places[EMPTY]]
            for place, blocks in places.items():
                compared = Comparison.of([median(values) for values in blocks], base)
                spread = Spread.of([value for values in blocks for value in values])
                self.found.setdefault(name, {})[place] = replace(
                    spread, times=compared.median, apart=max(compared.ratios) - min(compared.ratios)
                )

    def _execution(self, clock: Clock, *, key: str | None) -> dict[str, float]:
        """One execution's life with a step, by the product's statements; milliseconds of each."""
        new = a_row(epoch=self._engine.epoch(), key=key)
        times: dict[str, float] = {}
        times["enqueue" if key is None else "enqueue with a key"], _ = clock.ask(inserts.insert_one(new))
        times["claim"], claim = clock.ask(claims.claim(id=new.id, engine="celery", worker="w", lease=60.0))
        if claim is None:
            raise RuntimeError(f"{new.id} could not be claimed.")
        times["read steps"], _ = clock.ask(attempts.recorded_steps(new.id))
        step: dict[str, Any] = {"name": "step", "occurrence": 0, "position": 0, "seconds": 0.1}
        times["record a step"], _ = clock.ask(attempts.checkpoint(claim.lease, result="1", **step))
        finish = attempts.finish(claim.lease, outcome="succeeded", result='"sent"', error=None)
        times["finish"], _ = clock.ask(finish)
        return times

    def _round(self) -> float:
        return self._old.time(self._relay.round)

    def _idle(self, state: str) -> None:
        """Rounds of the relay, what it does in some of them, and the exporter's reading; nothing is due."""
        place = f"{state}, long-lived"
        lease = self.configuration.lease_seconds
        # The first looks for what was lost, which others do only after two seconds; those are below.
        self._round()
        self._keep("relay: a round", place, [self._round() for _ in range(_ROUNDS)])
        self._keep(
            "relay: a round that looks for what was lost (2 s)",
            place,
            [
                self._old.time(
                    Lane(configuration=self.configuration, engine=self._engine, watch=self._relay.watch).round
                )
                for _ in range(_ROUNDS)
            ],
        )
        walks = [self.engine() for _ in range(3)]
        self._keep(
            "relay: a walk over all that was sent (30 s)",
            place,
            [self._old.time(lambda engine=engine: engine.find_lost(lease=lease)) for engine in walks],
        )
        for engine in walks:
            engine.close()
        self._keep("exporter: a reading", place, [self._old.time(self._engine.load) for _ in range(_ROUNDS)])

    def _looking(self, clock: Clock) -> dict[str, float]:
        """What a relay asks beside Celery's lane: for leases that ran out, and in Restate's lane."""
        lease = self.configuration.lease_seconds
        queues = ("default", "reports")

        def together(make: Callable[[str], list[Statement[Any]]]) -> float:
            return sum(clock.ask(statement)[0] for queue in queues for statement in make(queue))

        return {
            "relay: leases that ran out": together(
                lambda queue: [
                    backlog.expired(engine="celery", queue=queue, after=None, limit=limit) for limit in (1_000, 1_250)
                ]
            ),
            "relay: Restate's lane, a round": clock.ask(backlog.queues())[0]
            + clock.ask(outbox.pending(engine="restate", limit=1_000))[0]
            + together(
                lambda queue: [
                    wakes.recheck(engine="restate", queue=queue, limit=1_000, sends=False),
                    backlog.take_due(
                        engine="restate", queue=queue, phases=("queued", "deferred"), broker_epoch=None, limit=1_000
                    ),
                    backlog.next_due(engine="restate", queue=queue),
                ]
            ),
            "relay: Restate's lane, what to ask Restate (2 s)": together(
                lambda queue: [runtime.suspects(engine="restate", queue=queue, age=lease, lease=lease, limit=100)]
            ),
        }

    def _pages(self) -> None:
        """The first page of `manage.py tandem list`, on Django's connection."""
        django = connections[ledger.LEDGER_DATABASE]
        django.ensure_connection()
        clock = Clock(connection=django.connection)
        for title, filters in PAGES.items():
            self.say(f"measuring: {title}")
            asked = [
                clock.time(lambda filters=filters: list(filtered(dict(filters))[:20])) for _ in range(_PAGES_ASKED)
            ]
            self._keep(title, STATES[1], asked)

    def _prune(self) -> None:
        """Delete the oldest tenth, or 200,000, in batches, and see whether later ones cost more."""
        self.say("pruning")
        taken: list[float] = []
        while len(taken) < _MOST_PRUNES:
            milliseconds, deleted = self._old.ask(pruning.prune(days=DAYS * 0.9, limit=_PRUNED))
            if not deleted:
                break
            taken.append(milliseconds)
        some = max(1, min(20, len(taken) // 2))
        self._keep("prune: the first batches of 1,000", STATES[2], taken[:some])
        self._keep("prune: the last batches of 1,000", STATES[2], taken[-some:])

    def _weigh(self) -> None:
        """Sizes, and of an index how much of it is gone once it is built anew."""
        ((rows, steps),) = self.administrator.execute(
            "SELECT (SELECT count(*) FROM tandem_execution), (SELECT count(*) FROM tandem_step)"
        ).fetchall()
        self.say("building indexes anew")
        for name, size, kind in self.administrator.execute(_SIZES).fetchall():
            weight = {"name": name, "bytes": size, "a_row": size / max(1, steps if "step" in name else rows)}
            if kind == "index":
                self.administrator.execute(f"REINDEX INDEX {name}".encode())
                ((anew,),) = self.administrator.execute("SELECT pg_relation_size(%s::regclass)", [name]).fetchall()
                weight["bloat"] = 1 - anew / size
            self.sizes.append(weight)


def _elsewhere(connection: psycopg.Connection[Any], database: str) -> dict[str, Any]:
    """libpq's parameters for another database of the same server."""
    known = connection.info
    return {"host": known.host, "port": known.port, "user": known.user, "dbname": database}
