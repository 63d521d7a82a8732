import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tandem.exceptions import RouteError, TandemError
from tandem.routing import Decision, Facts, Kind, Override, Rules, decide, explain, from_settings, merge

TASK = "emails.tasks.send"
ENGINES = {
    "celery": frozenset({"step", "sleep", "queues"}),
    "restate": frozenset({"step", "sleep", "workflow", "external"}),
}
THREE = {**ENGINES, "stub": frozenset({"step", "workflow"})}
MOMENT = datetime(2025, 11, 22, 9, 30, tzinfo=UTC)
NOBODY = {"requires": frozenset({"teleport"})}
WORKFLOW = {"requires": frozenset({"workflow"})}
QUEUES = {"requires": frozenset({"queues"})}


def rules(
    tasks: dict[str, Any] | None = None,
    *overrides: Override,
    default: str = "celery",
    kill: tuple[str, ...] = (),
    engines: dict[str, frozenset[str]] = THREE,
) -> Rules:
    settings = {"default": default, "tasks": tasks or {}, "kill": list(kill)}
    return merge(from_settings(settings, engines=engines), overrides)


def facts(**given: Any) -> Facts:
    return Facts(**{"task": TASK, "key": "key-1", "configured": ENGINES, **given})


def percent(share: float, engine: str = "restate", **more: str) -> dict[str, Any]:
    return {"engine": engine, "percent": share, **more}


PIN = "pin rule emails.* (settings)"
FULL = "100% rule emails.* (settings)"


@pytest.mark.parametrize(
    ("given", "written", "expected"),
    [
        pytest.param({}, rules(), ("celery", "default"), id="default"),
        pytest.param({}, rules({"other.*": "restate"}), ("celery", "default"), id="another task's rule"),
        pytest.param({}, rules({"emails.*": "restate"}), ("restate", PIN), id="pin"),
        pytest.param({}, rules({"emails.*": percent(100)}), ("restate", FULL), id="all"),
        pytest.param({}, rules({"emails.*": percent(0)}), ("celery", "default"), id="none"),
        # .using is a pin and beats the parent and every rule.
        pytest.param(
            {"pinned": "celery"},
            rules({"emails.*": "restate"}),
            ("celery", "the call asked for it"),
            id="using beats a pin",
        ),
        pytest.param(
            {"pinned": "celery"},
            rules({"emails.*": percent(100)}),
            ("celery", "the call asked for it"),
            id="using beats 100%",
        ),
        pytest.param(
            {"pinned": "celery", "parent_engine": "restate"},
            rules(),
            ("celery", "the call asked for it"),
            id="using a child",
        ),
        # A child takes its parent's engine before any rule.
        pytest.param(
            {"parent_engine": "restate"}, rules(), ("restate", "its parent runs there"), id="parent beats default"
        ),
        pytest.param(
            {"parent_engine": "celery"},
            rules({TASK: "restate"}),
            ("celery", "its parent runs there"),
            id="parent beats a pin",
        ),
        pytest.param(
            {"parent_engine": "celery"},
            rules({TASK: percent(100)}),
            ("celery", "its parent runs there"),
            id="parent beats 100%",
        ),
        # What the engine can do.
        pytest.param(WORKFLOW, rules(), ("restate", "celery lacks workflow: default"), id="default cannot"),
        pytest.param(
            WORKFLOW | {"configured": THREE, "pinned": "stub"},
            rules(),
            ("stub", "the call asked for it"),
            id="using can",
        ),
        pytest.param(QUEUES, rules({"emails.*": percent(100)}), ("celery", "default"), id="percentage cannot"),
        pytest.param(
            {"configured": {"celery": frozenset()}},
            rules({"emails.*": percent(100)}),
            ("celery", "default"),
            id="percentage to an engine of other processes",
        ),
        pytest.param(
            {"configured": {"celery": frozenset()}},
            rules(default="restate"),
            ("celery", "restate is not configured: default"),
            id="default of other processes",
        ),
        # Kill switches: rows that are not pinned go elsewhere.
        pytest.param({}, rules(kill=("restate",)), ("celery", "default"), id="another engine is killed"),
        pytest.param(
            {}, rules(kill=("celery",)), ("restate", "kill switch on celery: default"), id="default is killed"
        ),
        pytest.param(
            {},
            rules({"emails.*": percent(100)}, kill=("restate",)),
            ("celery", f"kill switch on restate: {FULL}"),
            id="percentage is killed",
        ),
        pytest.param(
            {"configured": {"stub": frozenset(), **ENGINES}},
            rules({"emails.*": percent(100)}, kill=("restate",)),
            ("celery", f"kill switch on restate: {FULL}"),
            id="percentage is killed, so the default comes before other engines",
        ),
        pytest.param(
            {"configured": THREE, **WORKFLOW},
            rules(kill=("restate",)),
            ("stub", "kill switch on restate: celery lacks workflow: default"),
            id="only another engine that can",
        ),
        # What was sent finishes, its children included.
        pytest.param(
            {"parent_engine": "celery"},
            rules(kill=("celery",)),
            ("celery", "its parent runs there"),
            id="child of a killed",
        ),
        pytest.param(
            {"parent_engine": "celery", "pinned": "celery"},
            rules(kill=("celery",)),
            ("celery", "the call asked for it"),
            id="child of a killed, pinned where it would go anyway",
        ),
        # Nothing to fall back on, or pinned: held.
        pytest.param(
            {"pinned": "celery"},
            rules(kill=("celery",)),
            ("celery", "kill switch on celery: the call asked for it", True),
            id="using",
        ),
        pytest.param(
            {"pinned": "celery", "parent_engine": "restate"},
            rules(kill=("celery",)),
            ("celery", "kill switch on celery: the call asked for it", True),
            id="child pinned away to a killed engine",
        ),
        pytest.param(
            {},
            rules({"emails.*": "restate"}, kill=("restate",)),
            ("restate", f"kill switch on restate: {PIN}", True),
            id="pin rule to a killed engine",
        ),
        pytest.param(
            {},
            rules(kill=("celery", "restate")),
            ("celery", "kill switch on celery: default", True),
            id="all are killed",
        ),
        pytest.param(
            {},
            rules({"emails.*": percent(100)}, kill=("celery", "restate")),
            ("restate", f"kill switch on restate: {FULL}", True),
            id="all are killed, held where the percentage had it",
        ),
        pytest.param(
            WORKFLOW,
            rules(kill=("restate",)),
            ("restate", "kill switch on restate: celery lacks workflow: default", True),
            id="all that can are killed",
        ),
    ],
)
def test_decide(given: dict[str, Any], written: Rules, expected: tuple[Any, ...]) -> None:
    engine, reason, *held = expected
    decision = decide(facts(**given), written)
    assert decision == Decision(engine=engine, reason=reason, held=bool(held))
    lines = explain(facts(**given), written)
    assert [line for line in lines if line.startswith("decision: ")] == [
        f"decision: {engine}{', held until the kill switch is lifted' if held else ''} ({reason})"
    ]


@pytest.mark.parametrize(
    ("given", "written", "names"),
    [
        pytest.param(
            WORKFLOW | {"pinned": "celery"},
            rules({"emails.*": "restate"}),
            [TASK, "'celery'", "the call asked for it", "lacks workflow", "restate can"],
            id="using cannot",
        ),
        pytest.param(
            {"pinned": "celery", "requires": frozenset({"workflow", "external", "step"})},
            rules(),
            ["lacks external, workflow. restate can"],
            id="using lacks two",
        ),
        pytest.param(
            WORKFLOW, rules({"emails.*": "celery"}), [TASK, "'celery'", PIN, "lacks workflow", "restate can"], id="pin"
        ),
        pytest.param(
            WORKFLOW | {"parent_engine": "celery"},
            rules(),
            [TASK, "'celery'", "(its parent runs there)", "lacks workflow", "restate can", ".using(engine=)"],
            id="parent cannot",
        ),
        pytest.param(
            NOBODY, rules(), [TASK, "'celery'", "celery lacks teleport; restate lacks teleport"], id="nobody can"
        ),
        pytest.param(
            NOBODY | {"pinned": "restate"}, rules(), ["'restate'", "celery lacks teleport"], id="nobody can, using"
        ),
        pytest.param(
            {"pinned": "restat"},
            rules(),
            [TASK, "'restat' is not configured; did you mean 'restate'? Configured engines: celery, restate."],
            id="using a typo",
        ),
        pytest.param({"pinned": ""}, rules(), ["engine '' is not configured."], id="using nothing"),
        pytest.param(
            {"parent_engine": "stub"},
            rules(),
            ["(its parent runs there)", "'stub' is not configured"],
            id="parent gone",
        ),
        pytest.param(
            {}, rules({"emails.*": "stub"}), [PIN, "'stub' is not configured", "celery, restate"], id="pin rule gone"
        ),
        pytest.param(NOBODY, rules(default="stub"), ["stub", "celery lacks teleport"], id="default gone, nobody can"),
        pytest.param({"configured": {}}, rules(), [TASK, "No engine is configured"], id="no engine"),
        pytest.param(
            WORKFLOW | {"pinned": "celery"}, rules(kill=("celery",)), ["lacks workflow"], id="refused before it is held"
        ),
    ],
)
def test_refused(given: dict[str, Any], written: Rules, names: list[str]) -> None:
    with pytest.raises(RouteError) as caught:
        decide(facts(**given), written)
    message = str(caught.value)
    assert [name for name in names if name not in message] == []
    assert isinstance(caught.value, TandemError)
    assert isinstance(caught.value, ValueError)
    assert explain(facts(**given), written)[-1] == f"error: {message}"


@pytest.mark.parametrize(
    ("tasks", "engine", "reason"),
    [
        pytest.param(
            {"*": "stub", TASK: "restate"}, "restate", f"pin rule {TASK} (settings)", id="a name beats a glob"
        ),
        pytest.param(
            {TASK: "restate", f"{TASK}*": "stub"},
            "restate",
            f"pin rule {TASK} (settings)",
            id="a name beats its own glob",
        ),
        pytest.param(
            {"emails.tasks.*": "restate", "emails.*": "stub"},
            "restate",
            "pin rule emails.tasks.* (settings)",
            id="a longer literal prefix beats a shorter",
        ),
        pytest.param(
            {"*.tasks.send": "stub", "e*": "restate"}, "restate", "pin rule e* (settings)", id="the prefix counts alone"
        ),
        pytest.param(
            {"emails.*.send": "restate", "emails.?*": "stub"},
            "restate",
            "pin rule emails.*.send (settings)",
            id="of one prefix the longer pattern",
        ),
        pytest.param({"emails.tasks.s?nd": "restate"}, "restate", "pin rule emails.tasks.s?nd (settings)", id="?"),
        pytest.param(
            {"emails.tasks.[rs]end": "restate"}, "restate", "pin rule emails.tasks.[rs]end (settings)", id="[]"
        ),
        pytest.param({"Emails.*": "restate"}, "celery", "default", id="case counts"),
        pytest.param({"emails.tasks": "restate"}, "celery", "default", id="a name is no prefix"),
        pytest.param(
            {"emails.*": percent(100), TASK: percent(0)}, "celery", "default", id="a wider percentage does not count"
        ),
        pytest.param(
            {"emails.*": "stub", TASK: percent(0)},
            "stub",
            "pin rule emails.* (settings)",
            id="the rest goes by the pin below",
        ),
        pytest.param(
            {"emails.*": "restate", TASK: percent(0)}, "celery", "default", id="but not by a pin to the same engine"
        ),
        pytest.param(
            {"e*": "stub", "emails.*": "restate", TASK: percent(0)}, "stub", "pin rule e* (settings)", id="the next pin"
        ),
        pytest.param(
            {"emails.*": percent(100), TASK: "stub"}, "stub", f"pin rule {TASK} (settings)", id="a pin beats wider 100%"
        ),
    ],
)
def test_the_most_specific_rule_wins(tasks: dict[str, Any], engine: str, reason: str) -> None:
    assert decide(facts(configured=THREE), rules(tasks)) == Decision(engine=engine, reason=reason)


def test_of_equal_patterns_the_later_source_wins() -> None:
    override = Override(kind=Kind.PIN, pattern="emails.*", engine="stub", author="anna", created_at=MOMENT)
    written = rules({"emails.?????.*": "restate"}, override)
    assert decide(facts(configured=THREE), written).reason == "pin rule emails.* (override by anna)"


def test_percentages_read_as_people_write_them() -> None:
    for share, text in ((100, "100"), (100.0, "100"), (99.99, "99.99"), (99.9, "99.9")):
        plan = rules({"emails.*": percent(share)}).plan(TASK)
        assert plan.share_label == f"{text}% rule emails.* (settings)"


def moved(share: float, keys: list[str], **more: str) -> set[str]:
    written = rules({"emails.*": percent(share, **more)})
    return {key for key in keys if decide(facts(key=key), written).engine == "restate"}


def random_keys(count: int) -> list[str]:
    source = random.Random(20251122)
    return [f"{source.getrandbits(128):032x}" for _ in range(count)]


def test_a_ramp_only_ever_moves_keys_to_the_engine() -> None:
    keys = random_keys(4_000)
    before: set[str] = set()
    for share in (0, 0.01, 0.5, 1, 5, 12.34, 25, 50, 50.01, 75, 99.99, 100):
        after = moved(share, keys)
        assert before <= after
        before = after
    assert before == set(keys)
    assert moved(0, keys) == set()


@pytest.mark.parametrize("share", [1, 25, 50, 90])
def test_the_share_is_close_to_the_percentage(share: int) -> None:
    count = 10_000
    deviation = (count * share / 100 * (1 - share / 100)) ** 0.5
    assert abs(len(moved(share, random_keys(count))) - count * share / 100) < 4 * deviation


def test_salts_and_tasks_draw_independently() -> None:
    keys = random_keys(4_000)
    plain, salted = moved(50, keys), moved(50, keys, salt="second")
    other = rules({"emails.*": percent(50)})
    sibling = {key for key in keys if decide(facts(key=key, task="emails.tasks.other"), other).engine == "restate"}
    for drawn in (salted, sibling):
        assert abs(len(plain & drawn) - 1_000) < 4 * (4_000 * 0.25 * 0.75) ** 0.5


@pytest.mark.parametrize("bucket", [0, 1, 2_499, 9_999])
def test_a_key_moves_at_its_own_hundredth_of_a_per_cent(bucket: int) -> None:
    plan = rules({"emails.*": percent(25)}).plan(TASK)
    key = next(key for key in map(str, range(1_000_000)) if plan.bucket(key) == bucket)
    assert moved(bucket / 100, [key]) == set()
    assert moved((bucket + 1) / 100, [key]) == {key}


def test_a_bucket_is_the_same_for_ever() -> None:
    """Moving these would move the keys of a running rollout."""
    plan = rules({"emails.*": percent(25, salt="ramp")}).plan(TASK)
    assert [plan.bucket(key) for key in ("", "key-1", "ключ")] == [5652, 3580, 420]


@pytest.mark.parametrize("pattern", ["emails.*", TASK, "emails.tasks.*"])
def test_an_override_without_salt_keeps_the_ramp(pattern: str) -> None:
    keys = random_keys(2_000)
    override = Override(kind=Kind.PERCENT, pattern=pattern, engine="restate", percent=Decimal(30), author="anna")
    raised = rules({"emails.*": percent(25, salt="ramp")}, override)
    after = {key for key in keys if decide(facts(key=key), raised).engine == "restate"}
    assert moved(25, keys, salt="ramp") < after
    assert after == moved(30, keys, salt="ramp")


def test_an_override_with_a_salt_draws_anew() -> None:
    keys = random_keys(200)
    override = Override(kind=Kind.PERCENT, pattern="emails.*", engine="restate", percent=Decimal(25), salt="new")
    redrawn = rules({"emails.*": percent(25, salt="ramp")}, override)
    assert {key for key in keys if decide(facts(key=key), redrawn).engine == "restate"} == moved(25, keys, salt="new")


def test_explain_walks_every_step() -> None:
    kill = Override(kind=Kind.KILL, engine="restate", author="ben", created_at=MOMENT, reason="disk full")
    written = rules({"emails.*": "celery", TASK: percent(100)}, kill)
    bucket, share = written.plan(TASK).bucket("key-1"), f"100% rule {TASK} (settings)"
    assert explain(facts(queue="emails", priority=5), written) == [
        "kill switch: restate (override by ben, 2025-11-22 09:30 UTC, disk full)",
        "can serve: needs nothing special; celery can; restate can",
        "using: not given: passed",
        "parent: no parent: passed",
        f"percentage: restate, {share}: key 'key-1' is in bucket {bucket} of 10000, below 10000: turned away",
        "pin: celery, pin rule emails.* (settings): not asked",
        "default: celery (settings): not asked",
        f"decision: celery (kill switch on restate: {share})",
    ]


def test_explain_says_why_a_percentage_did_not_count() -> None:
    lines = explain(facts(**QUEUES), rules({"emails.*": percent(100)}))
    assert "can serve: needs queues; celery can; restate lacks queues" in lines
    assert any(line.endswith("below 10000, but restate lacks queues: passed") for line in lines)
    lines = explain(facts(), rules({"emails.*": percent(0)}))
    assert any(line.endswith("not below 0: passed") for line in lines)
    assert "pin: no pin rule for this task: passed" in lines
    assert "default: celery (settings): decides" in lines


def test_explain_says_that_a_child_follows_its_parent_past_a_kill_switch() -> None:
    lines = explain(facts(parent_engine="celery"), rules(kill=("celery",)))
    assert lines[0] == "kill switch: celery (settings); a child of what was sent still follows its parent"
    assert "parent: runs on celery: decides" in lines


@pytest.mark.parametrize(
    ("given", "note"),
    [
        ({}, []),
        ({"queue": "emails"}, ["note: restate has no queues or priorities: queue 'emails' will not count"]),
        ({"priority": -5}, ["note: restate has no queues or priorities: priority -5 will not count"]),
        (
            {"queue": "emails", "priority": 5},
            ["note: restate has no queues or priorities: queue 'emails' and priority 5 will not count"],
        ),
        ({"queue": "emails", "pinned": "celery"}, []),
    ],
)
def test_explain_says_what_restate_does_not_order(given: dict[str, Any], note: list[str]) -> None:
    lines = explain(facts(**given), rules(default="restate"))
    assert [line for line in lines if line.startswith("note: ")] == note


def test_facts_and_decisions_are_frozen_and_named() -> None:
    with pytest.raises(AttributeError):
        facts().task = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Facts("task", "key", ENGINES)  # type: ignore[call-arg]


def test_a_task_is_looked_up_once() -> None:
    written = rules({"emails.*": percent(25)})
    assert written.plan(TASK) is written.plan(TASK)
