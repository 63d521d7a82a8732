from typing import Any

import pytest
from benchmarks import report
from benchmarks.paired import Aim, Comparison, Summary, drain_rate, percentile

SECOND = 1_000_000_000


def test_a_summary_has_the_middle_and_both_ends() -> None:
    summary = Summary.of([30.0, 10.0, 20.0])
    assert (summary.median, summary.minimum, summary.maximum) == (20.0, 10.0, 30.0)


def test_a_summary_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="No repeats"):
        Summary.of([])


def test_ratios_are_taken_within_each_repeat() -> None:
    # The machine got twice as slow in the second repeat, for both: paired, nothing changed.
    comparison = Comparison.of([100.0, 50.0, 90.0], [200.0, 100.0, 200.0])
    assert comparison.ratios == (0.5, 0.5, 0.45)
    assert comparison.median == 0.5
    assert comparison.spread == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [([119.0], "tie"), ([121.0], "more"), ([84.0], "tie"), ([83.0], "less"), ([100.0], "tie")],
)
def test_under_a_fifth_is_a_tie_either_way(values: list[float], verdict: str) -> None:
    assert Comparison.of(values, [100.0]).verdict == verdict


@pytest.mark.parametrize(("values", "baseline"), [([], []), ([1.0], [1.0, 2.0]), ([1.0], [0.0])])
def test_what_cannot_be_paired_is_refused(values: list[float], baseline: list[float]) -> None:
    with pytest.raises(ValueError, match=r"paired|above 0"):
        Comparison.of(values, baseline)


def test_an_aim_by_ratio_is_met_at_its_bound() -> None:
    aim = Aim(figure="drain", contender="a", baseline="b", bound=0.6)
    verdict = aim.judge([60.0, 50.0, 70.0], [100.0, 100.0, 100.0])
    assert (verdict.value, verdict.met, verdict.repeats_met, verdict.repeats) == (0.6, True, 2, 3)
    assert not verdict.decided


def test_an_aim_missed_in_every_repeat_is_decided() -> None:
    aim = Aim(figure="drain", contender="a", baseline="b", bound=0.6)
    verdict = aim.judge([40.0, 50.0], [100.0, 100.0])
    assert not verdict.met
    assert verdict.decided


def test_an_aim_by_value_must_be_under_its_bound() -> None:
    aim = Aim(figure="idle_p50", contender="a", baseline=None, bound=8.0)
    assert aim.judge([7.9, 9.0, 5.0]).met
    assert not aim.judge([8.0]).met
    with pytest.raises(ValueError, match="No repeats"):
        aim.judge([])


@pytest.mark.parametrize(("share", "expected"), [(0.5, 5.0), (0.99, 10.0), (1.0, 10.0), (0.01, 1.0)])
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    assert percentile([10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], share) == expected


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.1)])
def test_no_percentile_of_nothing(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="No percentile"):
        percentile(values, share)


def test_a_drain_counts_from_when_all_processes_run() -> None:
    # Process 1 has a head start of three bodies over 9 s; from then on both do one a second.
    alone = [(0, 1), (4 * SECOND, 1), (8 * SECOND, 1)]
    together = [(second * SECOND, process) for second in range(9, 14) for process in (1, 2)]
    assert drain_rate(alone + together) == pytest.approx(8 / 4)


def test_a_process_without_work_does_not_shorten_a_drain() -> None:
    starts = [(second * SECOND, 1) for second in range(10)]
    assert drain_rate([*starts, (10 * SECOND, 2)]) == pytest.approx(1.0)


@pytest.mark.parametrize("starts", [[], [(0, 1)], [(5, 1), (5, 1)]])
def test_too_few_bodies_make_no_rate(starts: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="no rate"):
        drain_rate(starts)


def run_of(*, drain: float, p50: float = 5.0, lost: int = 0, ran_again: int = 0, recorded: int | None = 100) -> Any:
    return {
        "single": {"per_second": 1_000.0},
        "drain": {"per_second": drain},
        "idle": {"p50": p50, "p99": 2 * p50},
        "tasks": {"enqueued": 100, "lost": lost, "ran_again": ran_again, "recorded": recorded},
    }


def test_aims_are_judged_by_pairs_and_left_out_without_their_baseline() -> None:
    repeats = [
        {"celery": run_of(drain=100.0), "tandem-celery": run_of(drain=50.0, p50=7.0)},
        {"celery": run_of(drain=10.0), "tandem-celery": run_of(drain=7.0, p50=9.0)},
        {"celery": run_of(drain=100.0), "tandem-celery": run_of(drain=65.0, p50=7.5)},
    ]
    found = {aim["aim"]: (round(aim["value"], 2), aim["met"], aim["repeats_met"]) for aim in report.aims(repeats)}
    assert found == {
        "Tandem on Celery, single enqueue >= 1 x Celery, no results": (1.0, True, 3),
        "Tandem on Celery, drain of waiting tasks >= 0.6 x Celery, no results": (0.65, True, 2),
        "Tandem on Celery, idle: enqueue to start, p50 < 8 ms": (7.5, True, 2),
    }


def test_an_aim_of_at_most_is_met_at_its_bound_and_missed_above() -> None:
    aim = Aim(figure="stepped_cpu", contender="a", baseline="b", bound=1.3, most=True)
    assert aim.judge([13.0], [10.0]).met
    assert not aim.judge([13.1, 14.0, 1.0], [10.0, 10.0, 10.0]).met


def test_a_processor_aim_that_is_missed_says_where_the_time_went() -> None:
    def stepped(worker: float, database: float) -> Any:
        cpu = {"worker": worker, "PostgreSQL": database, "all": worker + database}
        usage = {"cpu": cpu, "transactions": 5.0, "written": 3_000.0}
        return {**run_of(drain=100.0), "stepped": {"per_second": 10.0, "usage": usage}}

    (met,) = report.aims([{"dbos": stepped(4.0, 2.0), "tandem-restate": stepped(3.0, 2.0)}])[1:]
    assert (met["met"], met["why"]) == (True, [])
    (missed,) = report.aims([{"dbos": stepped(4.0, 2.0), "tandem-restate": stepped(9.0, 2.0)}])[1:]
    assert missed["aim"] == "Tandem on Restate, 3 steps, processor <= 1.3 x DBOS"
    assert missed["why"] == [
        "Tandem on Restate: worker 9.00, PostgreSQL 2.00; 5.0 transactions that write, 3.0 kB of PostgreSQL's log",
        "DBOS: worker 4.00, PostgreSQL 2.00; 5.0 transactions that write, 3.0 kB of PostgreSQL's log",
    ]


def test_the_table_has_each_figure_with_its_ratio_and_spread() -> None:
    repeats = [{"celery": run_of(drain=100.0), "tandem-celery": run_of(drain=drain)} for drain in (40.0, 60.0)]
    row = next(
        row for row in report.summary(repeats) if (row["figure"], row["contender"]) == ("drain", "tandem-celery")
    )
    assert (row["median"], row["minimum"], row["maximum"]) == (50.0, 40.0, 60.0)
    assert row["against"]["celery"]["ratios"] == [0.4, 0.6]
    assert row["against"]["celery"]["spread"] == pytest.approx(0.4)
    assert row["against"]["celery"]["verdict"] == "less"


def test_what_was_lost_repeated_or_not_recorded_is_said() -> None:
    repeats = [
        {"celery": run_of(drain=1.0, recorded=None), "procrastinate": run_of(drain=1.0, lost=3, recorded=97)},
        {"celery": run_of(drain=1.0, ran_again=2, recorded=None)},
    ]
    assert report.faults(repeats) == [
        "procrastinate, repeat 1: 3 of 100 never ran",
        "procrastinate, repeat 1: 97 of 100 recorded",
        "Celery, no results, repeat 2: 2 of 100 ran more than once",
    ]


def test_a_run_without_losses_has_no_faults() -> None:
    assert report.faults([{"celery": run_of(drain=1.0, recorded=None), "procrastinate": run_of(drain=1.0)}]) == []
