"""The arithmetic of the chaos suite."""

from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.counting import Checkpoint, Claim, Counts, Evidence, Row, bodies, count
from tests.chaos.log import Line
from tests.chaos.report import Result, line, verdict

ENDED = 110.0


def row(id_: str = "a", **changes: Any) -> Row:
    whole = Row(
        id=id_,
        engine="celery",
        task="stepped",
        phase="succeeded",
        number=1,
        result={"number": 1, "fence": 1},
        fence=1,
        created_at=100.0,
        finished_at=105.0,
    )
    return replace(whole, **changes)


def log(at: float, event: Any, *, id_: str = "a", pid: int = 7, fence: int = 1, name: str = "") -> Line:
    return Line(at=at, pid=pid, event=event, execution=id_, fence=fence, name=name)


def ran(item: Row) -> list[Line]:
    return [log(at, event, id_=item.id, fence=item.fence) for at, event in ((101.0, "body-start"), (104.0, "body-end"))]


def counts(*rows: Row, engine: str = "celery", **evidence: Any) -> Counts:
    given: dict[str, Any] = {
        "acknowledged": {item.id: item.engine for item in rows},
        "rows": rows,
        "checkpoints": [],
        "claims": [],
        "stale_progress": {},
        "lines": [line for item in rows for line in ran(item)],
    }
    return count(Evidence(**(given | evidence)), engine, ended=ENDED, lease=3.0)


def test_a_row_that_ended_as_it_must_is_not_lost() -> None:
    found = counts(row())
    assert (found.executions, found.lost, found.is_sound) == (1, 0, True)


@pytest.mark.parametrize(
    "wrong",
    [
        row(phase="running", result=None, finished_at=None),
        row(phase="failed", result=None),
        row(phase="dead", result=None),
        row(result={"number": 2, "fence": 1}),
    ],
    ids=["unfinished", "failed", "dead", "another value"],
)
def test_a_row_that_ended_otherwise_is_lost(wrong: Row) -> None:
    found = counts(wrong)
    assert (found.lost, found.is_sound) == (1, False)


def test_a_call_that_was_answered_and_has_no_row_is_lost() -> None:
    found = counts(row(), acknowledged={"a": "celery", "b": "celery", "c": "restate"})
    assert (found.executions, found.lost) == (2, 1)


def test_a_row_that_succeeded_without_a_body_is_lost() -> None:
    assert counts(row(fence=2, result={"number": 1, "fence": 2}), lines=ran(row())).lost == 1


@pytest.mark.parametrize(("heard", "lost"), [(1, 0), (2, 1), (None, 1)])
def test_a_waiter_answers_the_signal_that_it_was_sent(heard: int | None, lost: int) -> None:
    assert counts(row(task="waiter", result={"number": 1, "fence": 1, "heard": heard})).lost == lost


def test_a_parent_answers_what_its_childrens_rows_say() -> None:
    answers = [{"number": 1, "fence": 1}, {"number": 2, "fence": 3}]
    parent = row("p", task="gatherer", result={"number": 1, "fence": 1, "children": answers})
    second = row("c", number=2, fence=3, result=answers[1], parent="p")
    first = row("b", result=answers[0], parent="p")
    assert counts(parent, second, first).lost == 0
    assert counts(parent, first).lost == 1, "a child without a row"
    assert counts(parent, second, first, row("d", number=3, result={"number": 3, "fence": 1}, parent="p")).lost == 1
    assert counts(parent, first, replace(second, result={"number": 2, "fence": 2}, fence=2)).lost == 1, "another answer"
    assert counts(parent, first, replace(second, phase="queued", result=None)).lost == 2, "the child and its parent"
    assert counts(first).lost == 1, "a child without a parent"


def test_engines_are_counted_apart() -> None:
    rows = (row(), row("b", engine="restate", phase="failed"))
    assert counts(*rows).lost == 0
    assert counts(*rows, engine="restate").lost == 1


def test_what_an_older_attempt_wrote_is_stale() -> None:
    checkpoint = Checkpoint(execution="a", name="one", finished_at=104.0, is_stale=True)
    found = counts(
        row(fence=2),
        checkpoints=[checkpoint, replace(checkpoint, is_stale=False), replace(checkpoint, execution="of another")],
        stale_progress={"a": 2, "of another": 4},
    )
    assert found.stale == 1 + 2 + 1, "a checkpoint, two of progress, and the finish of fence 1"


def test_a_step_that_began_after_it_was_recorded_ran_again() -> None:
    recorded = Checkpoint(execution="a", name="one", finished_at=104.0, is_stale=False)
    begun = [log(103.0, "step-start", name="one"), log(104.5, "step-start", name="one", fence=2)]
    other = [log(104.5, "step-start", name="two", fence=2)]
    assert counts(row(), checkpoints=[recorded], lines=begun[:1] + other).again == 0
    assert counts(row(), checkpoints=[recorded], lines=begun + other).again == 1


def test_an_atomic_effect_is_there_once_where_its_step_is_recorded() -> None:
    step = Checkpoint(execution="a", name="debit", finished_at=104.0, is_stale=False)
    given: dict[str, Any] = {"checkpoints": [step, replace(step, name="credit")]}
    once = {("a", "debit"): 1, ("a", "credit"): 1}
    assert counts(row(), effects=once, **given).atomic is None
    assert counts(row(task="atomic"), effects=once, **given).atomic == 0
    assert counts(row(task="atomic_async"), effects={}, **given).atomic == 2
    assert counts(row(task="atomic"), effects=once | {("a", "debit"): 2}, **given).atomic == 1
    assert counts(row(task="atomic"), effects={("a", "debit"): 1}, **given).atomic == 1
    assert counts(row(task="atomic"), effects=once | {("a", "unrecorded"): 1}, **given).atomic == 1


def test_a_body_without_an_end_was_cut_when_its_process_died() -> None:
    lines = [log(101.0, "body-start"), log(102.0, "step-start", name="one")]
    [of_a_known_death] = bodies(lines, {7: 103.0})
    [of_an_unknown_one] = bodies(lines, {})
    assert (of_a_known_death.end, of_an_unknown_one.end) == (103.0, 102.0)
    assert of_a_known_death.was_cut


@pytest.mark.parametrize(
    ("engine", "claimed", "cut", "counted", "extra"),
    [
        ("celery", 102.0, True, (1, 0), 0),
        ("celery", 102.0, False, (1, 0), 1),
        ("celery", 105.0, False, (1, 0), 0),
        ("restate", 102.0, False, (1, 0), 0),
        ("celery", 102.0, True, (2, 0), 1),
        ("celery", 102.0, True, (1, 1), 1),
    ],
    ids=["killed", "told twice", "lease ran out", "driven anew beside it", "one of two", "a failure"],
)
def test_an_attempt_that_nothing_explains_is_extra(
    engine: str, claimed: float, *, cut: bool, counted: tuple[int, int], extra: int
) -> None:
    lost, failed = counted
    item = row(engine=engine, fence=2, result={"number": 1, "fence": 2}, attempts=lost + failed, lost=lost)
    first = [log(101.0, "body-start"), log(104.0, "body-end")]
    claims = [Claim(execution="a", fence=1, at=101.0), Claim(execution="a", fence=2, at=claimed)]
    found = counts(item, engine=engine, claims=claims, lines=first[: 1 if cut else 2] + ran(item))
    assert (found.extra, found.is_sound) == (extra, extra == 0)


def test_resumed_is_from_the_death_to_the_next_claim() -> None:
    claims = [Claim(execution="a", fence=number, at=at) for number, at in ((1, 100.9), (2, 106.5), (3, 109.0))]
    found = counts(row(), claims=claims, lines=[log(101.0, "body-start")], deaths={7: 103.0})
    assert (found.cut, found.resumed) == (1, 3.5)


def test_a_body_beside_a_newer_one_is_stale_for_as_long_as_it_runs() -> None:
    lines = [
        log(101.0, "body-start"),
        log(104.0, "body-start", fence=2, pid=8),
        log(105.0, "body-end", fence=2, pid=8),
        log(106.5, "body-end"),
    ]
    found = counts(row(fence=2, result={"number": 1, "fence": 2}), lines=lines)
    assert (found.stale_bodies, found.overlap, found.cut, found.is_sound) == (1, 2.5, 0, True)


def test_times_are_from_the_end_of_the_fault() -> None:
    rows = (
        row(),
        row("b", finished_at=113.0),
        row("c", finished_at=112.0),
        row("d", created_at=111.0, finished_at=120.0),
    )
    found = counts(*rows)
    assert (found.first, found.all) == (2.0, 3.0)
    over = counts(row())
    assert (over.first, over.all) == (None, 0.0)


def test_the_table_names_what_is_wrong() -> None:
    sound = Result(title="kill", engine="celery", counts=counts(row()))
    lost = Result(title="kill", engine="restate", counts=counts(row(phase="failed")))
    stuck = replace(sound, problem="worker-1 did not end")
    assert "WRONG" not in line(sound)
    assert line(lost).endswith("WRONG")
    assert line(stuck).endswith("WRONG worker-1 did not end")
    assert verdict([sound]) == "Every count that must be 0 is 0 in all 1 rows."
    assert verdict([sound, lost, stuck]) == "2 of 3 rows are WRONG: kill (restate), kill (celery)."


def test_an_attempt_that_ended_while_the_ledger_was_away_is_the_faults() -> None:
    item = row(fence=2, result={"number": 1, "fence": 2}, attempts=1, lost=1)
    first = [log(101.0, "body-start"), log(101.5, "body-end")]
    claims = [Claim(execution="a", fence=1, at=101.0), Claim(execution="a", fence=2, at=102.0)]
    given: dict[str, Any] = {"claims": claims, "lines": first + ran(item)}
    assert counts(item, **given).extra == 1
    assert counts(item, **given, away=(101.2, 103.0)).extra == 0
