from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tandem.exceptions import RouteError
from tandem.routing import (
    Kind,
    Override,
    Row,
    Rule,
    Rules,
    Source,
    from_environment,
    from_settings,
    merge,
    parse_target,
    problems,
    table,
)

ENGINES = ["celery", "restate"]
MOMENT = datetime(2025, 11, 22, 9, 30, tzinfo=UTC)


def rule(kind: Kind, source: Source = Source.SETTINGS, **given: Any) -> Rule:
    return Rule(kind=kind, source=source, **given)


def override(kind: Kind, minutes: int = 0, **given: Any) -> Override:
    return Override(**{"kind": kind, "author": "anna", "created_at": MOMENT + timedelta(minutes=minutes), **given})


def merged(text: str = "", *overrides: Rule, **routes: Any) -> Rules:
    return merge(overrides, from_environment(text, engines=ENGINES), from_settings(routes, engines=ENGINES))


def test_settings_give_rules() -> None:
    routes = {
        "default": "restate",
        "tasks": {
            "emails.*": "restate",
            "a.b": {"engine": "celery"},
            "a.c": {"engine": "restate", "percent": 12.5, "salt": "ramp"},
            "*": {"engine": "celery", "percent": "33.33"},
        },
        "kill": ["celery", "celery"],
    }
    assert from_settings(routes, engines=ENGINES) == (
        rule(Kind.DEFAULT, engine="restate"),
        rule(Kind.PIN, pattern="emails.*", engine="restate"),
        rule(Kind.PIN, pattern="a.b", engine="celery"),
        rule(Kind.PERCENT, pattern="a.c", engine="restate", percent=Decimal("12.5"), salt="ramp"),
        rule(Kind.PERCENT, pattern="*", engine="celery", percent=Decimal("33.33")),
        rule(Kind.KILL, engine="celery"),
    )


@pytest.mark.parametrize("engines", [["restate", "celery"], {"restate": {}, "celery": {}}])
def test_settings_without_routes_default_to_the_first_engine(engines: Collection[str]) -> None:
    assert from_settings({}, engines=engines) == (rule(Kind.DEFAULT, engine="restate"),)


def test_the_environment_gives_rules() -> None:
    text = " default=celery; showcase.emails.tasks.send_email = restate : 25 ;a.b.*=restate;;kill=restate;kill=celery; "
    environment = Source.ENVIRONMENT
    assert from_environment(text, engines=ENGINES) == (
        rule(Kind.DEFAULT, environment, engine="celery"),
        rule(
            Kind.PERCENT,
            environment,
            pattern="showcase.emails.tasks.send_email",
            engine="restate",
            percent=Decimal(25),
        ),
        rule(Kind.PIN, environment, pattern="a.b.*", engine="restate"),
        rule(Kind.KILL, environment, engine="restate"),
        rule(Kind.KILL, environment, engine="celery"),
    )


@pytest.mark.parametrize("text", ["", "  ", ";", " ; ; "])
def test_an_empty_environment_gives_none(text: str) -> None:
    assert from_environment(text, engines=ENGINES) == ()


CONFIGURED = "Configured engines: celery, restate."
RANGE = "but must be 0 to 100 with at most two decimals"


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        ({"defualt": "celery"}, "ROUTES has an unknown key 'defualt'; did you mean 'default'? Keys: default, tasks, kill."),
        ({"zzz": 1}, "ROUTES has an unknown key 'zzz'. Keys: default, tasks, kill."),
        ({7: 1}, "ROUTES has an unknown key 7. Keys"),
        ([], "ROUTES is [], but must be a dictionary"),
        ({"default": "celrey"}, f"ROUTES['default']: engine 'celrey' is not configured; did you mean 'celery'? {CONFIGURED}"),
        ({"default": None}, f"ROUTES['default']: None is no engine's name. {CONFIGURED}"),
        ({"tasks": ["a.b"]}, "ROUTES['tasks'] is ['a.b'], but must map patterns to engines."),
        ({"tasks": {"a.b": "restat"}}, "ROUTES['tasks']['a.b']: engine 'restat' is not configured; did you mean 'restate'?"),
        ({"tasks": {"a.b": 25}}, "ROUTES['tasks']['a.b'] is 25, but must be a dictionary with the keys engine, percent, salt."),
        ({"tasks": {"a.b": {"percent": 25}}}, f"ROUTES['tasks']['a.b'] has no 'engine'. {CONFIGURED}"),
        (
            {"tasks": {"a.b": {"engine": "restate", "precent": 25}}},
            "ROUTES['tasks']['a.b'] has an unknown key 'precent'; did you mean 'percent'? Keys: engine, percent, salt.",
        ),
        ({"tasks": {"a.b": {"engine": "", "percent": 25}}}, "ROUTES['tasks']['a.b']: '' is no engine's name."),
        ({"tasks": {"a.b": {"engine": "restate", "salt": "x"}}}, "'pin' takes engine, pattern, but was given engine, pattern, salt."),
        ({"tasks": {"a.b": {"engine": "restate", "percent": 5, "salt": 5}}}, "ROUTES['tasks']['a.b']['salt'] is 5, but must be a string."),
        ({"tasks": {"": "restate"}}, "ROUTES['tasks']['']: a pattern is a task's dotted name or a glob, not ''."),
        ({"tasks": {5: "restate"}}, "ROUTES['tasks'][5]: a pattern is a task's dotted name or a glob, not 5."),
        ({"tasks": {"send_email": "restate"}}, "'send_email' is neither a task's dotted name nor a glob such as 'emails.tasks.*'."),
        ({"tasks": {"emails. *": "restate"}}, "'emails. *' is neither a task's dotted name nor a glob"),
        ({"kill": "celery"}, "ROUTES['kill'] is 'celery', but must be a list of engines."),
        ({"kill": 5}, "ROUTES['kill'] is 5, but must be a list of engines."),
        ({"kill": ["restat"]}, "ROUTES['kill']: engine 'restat' is not configured; did you mean 'restate'?"),
        ({"kill": [None]}, "ROUTES['kill']: None is no engine's name."),
    ],
)  # fmt: skip
def test_a_mistake_in_settings_is_named(routes: Any, message: str) -> None:
    with pytest.raises(RouteError) as caught:
        from_settings(routes, engines=ENGINES)
    assert message in str(caught.value)


@pytest.mark.parametrize("percent", [-1, -0.01, 100.01, 101, 250, 0.001, 33.333, True, None, "", "25%", "many", "1e1", float("nan"), float("inf"), Decimal("1e3"), [5]])  # fmt: skip
def test_a_percentage_out_of_range_is_named(percent: Any) -> None:
    routes = {"tasks": {"a.b": {"engine": "restate", "percent": percent}}}
    with pytest.raises(RouteError) as caught:
        from_settings(routes, engines=ENGINES)
    assert str(caught.value).startswith("ROUTES['tasks']['a.b']: percent is ")
    assert RANGE in str(caught.value)


@pytest.mark.parametrize(
    ("percent", "value"),
    [(0, "0"), (100, "100"), ("100.00", "100"), ("0.01", "0.01"), (99.99, "99.99"), (5.0, "5"), (Decimal("1e2"), "100"), ("25.500", "25.5")],
)  # fmt: skip
def test_a_percentage_in_range_is_kept(percent: Any, value: str) -> None:
    routes = {"tasks": {"a.b": {"engine": "restate", "percent": percent}}}
    assert from_settings(routes, engines=ENGINES)[1].percent == Decimal(value)


def test_settings_without_engines_are_refused() -> None:
    with pytest.raises(RouteError, match=r"^ROUTES: no engine is configured"):
        from_settings({}, engines=[])


def test_messages_begin_where_the_settings_are() -> None:
    with pytest.raises(RouteError, match=r"^TASKS\['default'\]\['OPTIONS'\]\['ROUTES'\] has an unknown key"):
        from_settings({"x": 1}, engines=ENGINES, where="TASKS['default']['OPTIONS']['ROUTES']")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("celery", "TANDEM_ROUTES entry 'celery' is malformed. Entries are parted by ';', as in 'default=ENGINE;"),
        ("=celery", "TANDEM_ROUTES entry '=celery' is malformed."),
        ("a.b=", "TANDEM_ROUTES entry 'a.b=' is malformed."),
        ("a.b=celery, a.c=restate", "TANDEM_ROUTES entry 'a.b=celery, a.c=restate' is malformed."),
        ("default=celery; defualt=restate", "'defualt' is neither a task's dotted name nor a glob such as 'emails.tasks.*'; did you mean 'default'?"),
        ("kil=restate", "'kil' is neither a task's dotted name nor a glob such as 'emails.tasks.*'; did you mean 'kill'?"),
        ("a.b=restat", f"TANDEM_ROUTES entry 'a.b=restat': engine 'restat' is not configured; did you mean 'restate'? {CONFIGURED}"),
        ("a.b=:25", "TANDEM_ROUTES entry 'a.b=:25': '' is no engine's name."),
        ("a.b=restate:250", f"TANDEM_ROUTES entry 'a.b=restate:250': percent is '250', {RANGE}"),
        ("a.b=restate:", f"TANDEM_ROUTES entry 'a.b=restate:': percent is '', {RANGE}"),
        ("a.b=restate:25:x", f"percent is '25:x', {RANGE}"),
        ("default=restate:25", "TANDEM_ROUTES entry 'default=restate:25': 'default' takes an engine and no percentage."),
        ("kill=restate:25", "TANDEM_ROUTES entry 'kill=restate:25': 'kill' takes an engine and no percentage."),
        ("a.b=restate; a.b=celery", "TANDEM_ROUTES entry 'a.b=celery': 'a.b' was given before, by TANDEM_ROUTES entry 'a.b=restate'."),
        ("default=restate; default=celery", "'default' was given before"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_environment_is_named(text: str, message: str) -> None:
    with pytest.raises(RouteError) as caught:
        from_environment(text, engines=ENGINES)
    assert message in str(caught.value)


def test_targets() -> None:
    assert parse_target("restate", engines=ENGINES, where="routes set") == ("restate", None)
    assert parse_target("restate:12.5", engines=ENGINES, where="routes set") == ("restate", Decimal("12.5"))
    with pytest.raises(RouteError, match=r"^routes set: engine 'restat' is not configured; did you mean 'restate'\?"):
        parse_target("restat:5", engines=ENGINES, where="routes set")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "pni"}, "override by anna: unknown kind 'pni'; did you mean 'pin'?"),
        ({"kind": "pin", "engine": "celery"}, "override by anna: a rule of kind 'pin' takes engine, pattern, but was given engine."),
        ({"kind": "default"}, "a rule of kind 'default' takes engine, but was given none of them."),
        ({"kind": "default", "engine": "celery", "pattern": "a.b"}, "a rule of kind 'default' takes engine, but"),
        ({"kind": "percent", "pattern": "a.b", "engine": "celery"}, "takes engine, pattern, percent or engine, pattern, percent, salt, but was given engine, pattern."),
        ({"kind": "percent", "pattern": "a.b", "engine": "celery", "percent": Decimal(101)}, f"override by anna: percent is '101', {RANGE}"),
        ({"kind": "kill", "pattern": "a.b"}, "a rule of kind 'kill' takes engine, but was given pattern."),
        ({"kind": "off"}, "a rule of kind 'off' takes pattern or engine, but was given none of them."),
        ({"kind": "off", "pattern": "a.b", "engine": "celery"}, "a rule of kind 'off' takes pattern or engine, but was given engine, pattern."),
        ({"kind": "pin", "pattern": "send", "engine": "celery"}, "override by anna: 'send' is neither a task's dotted name nor a glob"),
    ],
)  # fmt: skip
def test_a_mistaken_override_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(RouteError) as caught:
        Override(author="anna", **given)
    assert message in str(caught.value)


def test_a_stored_kind_may_be_a_plain_string() -> None:
    row: dict[str, Any] = {"kind": "default", "engine": "restate"}
    stored = Override(**row)
    assert stored.kind is Kind.DEFAULT
    assert merged("", stored, default="celery").default.engine == "restate"


def test_later_sources_win_per_pattern() -> None:
    rules = merged(
        "a.b=celery:5; a.c=restate; default=restate; kill=restate",
        override(Kind.PIN, 1, pattern="a.c", engine="celery"),
        override(Kind.PIN, 0, pattern="a.c", engine="restate"),
        default="celery",
        tasks={"a.*": "restate", "a.b": "restate"},
    )
    assert rules.default.engine == "restate"
    assert [(rule.pattern, rule.source, rule.engine, rule.share) for rule in rules.patterns] == [
        ("a.c", Source.OVERRIDE, "celery", ""),
        ("a.b", Source.ENVIRONMENT, "celery", "5%"),
        ("a.*", Source.SETTINGS, "restate", ""),
    ]
    assert list(rules.kills) == ["restate"]


def test_an_override_takes_the_default() -> None:
    rules = merged("default=restate", override(Kind.DEFAULT, engine="celery"), default="restate")
    assert rules.default.origin == "override by anna"


def test_off_lifts_a_rule_and_a_kill_switch_of_an_earlier_source() -> None:
    tasks = {"a.*": "celery", "a.b": "restate"}
    rules = merged("kill=celery", tasks=tasks, kill=["restate"])
    assert set(rules.kills) == {"celery", "restate"}
    lifted = merged(
        "kill=celery",
        override(Kind.OFF, engine="celery"),
        override(Kind.OFF, engine="restate"),
        override(Kind.OFF, pattern="a.b"),
        tasks=tasks,
        kill=["restate"],
    )
    assert lifted.kills == {}
    assert lifted.plan("a.b").rest.pattern == "a.*"


def test_of_kill_and_off_the_later_holds() -> None:
    kill, off = override(Kind.KILL, 1, engine="celery"), override(Kind.OFF, 2, engine="celery")
    assert merged("", off, kill).kills == {}
    again = override(Kind.KILL, 3, engine="celery", author="ben", reason="broker is down")
    assert merged("", again, off, kill).kills["celery"] == again


def test_naive_times_sort_too() -> None:
    """A project with USE_TZ = False stores such."""
    times = [MOMENT.replace(tzinfo=None) + timedelta(hours=hour) for hour in (2, 1)]
    stored = [Override(kind=Kind.DEFAULT, engine=engine, created_at=time) for engine, time in zip(ENGINES, times, strict=True)]  # fmt: skip
    assert merged("", *stored).default.engine == "celery"


def test_rules_without_a_default_are_refused() -> None:
    with pytest.raises(RouteError, match="No rule names the default engine"):
        merge(from_environment("kill=celery", engines=ENGINES))


TASKS = ["showcase.emails.tasks.send_email", "showcase.emails.tasks.send_bulk", "showcase.files.tasks.thumbnail"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (rule(Kind.PIN, pattern="showcase.emails.tasks.*", engine="restate"), []),
        (rule(Kind.PIN, pattern="*", engine="restate"), []),
        (rule(Kind.OFF, pattern=TASKS[0]), []),
        (rule(Kind.KILL, engine="celery"), []),
        (
            rule(Kind.PIN, pattern="showcase.emails.tasks.send_emial", engine="restate", where="ROUTES['tasks']"),
            ["ROUTES['tasks']: pattern 'showcase.emails.tasks.send_emial' matches no registered task; did you mean 'showcase.emails.tasks.send_email'?"],
        ),
        (
            rule(Kind.PIN, pattern="showcase.email.tasks.*", engine="restate"),
            ["settings: pattern 'showcase.email.tasks.*' matches no registered task; did you mean 'showcase.emails.tasks.*'?"],
        ),
        (
            rule(Kind.PIN, pattern="zzzzz.*", engine="restate", source=Source.ENVIRONMENT),
            ["environment: pattern 'zzzzz.*' matches no registered task."],
        ),
        (
            override(Kind.OFF, pattern="showcase.emails.tasks.send_bulks"),
            ["override by anna: pattern 'showcase.emails.tasks.send_bulks' matches no registered task; did you mean 'showcase.emails.tasks.send_bulk'?"],
        ),
        (
            override(Kind.KILL, engine="restat"),
            [f"override by anna: engine 'restat' is not configured; did you mean 'restate'? {CONFIGURED}"],
        ),
        (
            override(Kind.PIN, pattern="a.b", engine="kafka"),
            [f"override by anna: engine 'kafka' is not configured. {CONFIGURED}", "override by anna: pattern 'a.b' matches no registered task."],
        ),
    ],
)  # fmt: skip
def test_problems(written: Rule, expected: list[str]) -> None:
    assert problems([written], TASKS, ENGINES) == expected


def test_problems_of_merged_rules_name_shadowed_ones_too() -> None:
    rules = merged("", override(Kind.OFF, pattern="a.b"), tasks={"a.b": "restate"})
    assert problems(rules.written, set(TASKS), dict.fromkeys(ENGINES)) == [
        "ROUTES['tasks']['a.b']: pattern 'a.b' matches no registered task.",
        "override by anna: pattern 'a.b' matches no registered task.",
    ]


def test_the_table_has_every_rule_in_the_order_they_decide() -> None:
    kill = override(Kind.KILL, 1, engine="restate", author="ben", reason="disk full")
    rules = merged(
        "a.b=celery; default=restate",
        override(Kind.PERCENT, 2, pattern="a.b", engine="restate", percent=Decimal("12.50"), salt="s"),
        kill,
        override(Kind.OFF, 3, engine="celery"),
        override(Kind.OFF, 4, pattern="b.*"),
        tasks={"a.*": "restate", "a.b": "restate", "b.*": "celery"},
        kill=["celery"],
    )

    def row(pattern: str, effect: str, source: str, minutes: int | None = None, **given: str) -> Row:
        more = {"author": "", "reason": "", "shadowed_by": "", **given}
        time = None if minutes is None else MOMENT + timedelta(minutes=minutes)
        return Row(pattern=pattern, effect=effect, source=source, created_at=time, **more)

    assert table(rules) == [
        row("kill", "celery off", "override", 3, author="anna"),
        row("kill", "celery", "settings", shadowed_by="override by anna"),
        row("kill", "restate", "override", 1, author="ben", reason="disk full"),
        row("a.b", "12.5% to restate, salt s", "override", 2, author="anna"),
        row("a.b", "celery", "environment", shadowed_by="override by anna"),
        row("a.b", "restate", "settings", shadowed_by="override by anna"),
        row("a.*", "restate", "settings"),
        row("b.*", "off", "override", 4, author="anna"),
        row("b.*", "celery", "settings", shadowed_by="override by anna"),
        row("default", "restate", "environment"),
        row("default", "celery", "settings", shadowed_by="environment"),
    ]
