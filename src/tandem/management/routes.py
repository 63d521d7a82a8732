"""`manage.py tandem routes {list,set,unset,kill,explain}`."""

import argparse
import getpass
from typing import Any

from django.core.management.base import CommandError

from tandem import operations, registry
from tandem.exceptions import UnknownTask
from tandem.management.arguments import backend_of, print_table, when
from tandem.routes import requirements
from tandem.routing import explain, parse_target, table

__all__ = ["add_arguments", "handle"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give each verb a parser."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("list", help="show every rule, its source, and which one holds")
    setting = verbs.add_parser("set", help="route a pattern, or the default, while the system runs")
    setting.add_argument("pattern", help="a task's dotted name, a glob such as emails.tasks.*, or default")
    setting.add_argument("target", help="ENGINE, or ENGINE:PERCENT to send a share of the calls there")
    unset = verbs.add_parser("unset", help="remove the override of a pattern, or of default")
    unset.add_argument("pattern")
    kill = verbs.add_parser("kill", help="stop new executions going to an engine; what was sent finishes")
    kill.add_argument("engine")
    kill.add_argument("--off", action="store_true", help="lift the kill switch")
    kill.add_argument("--reason", default="", help="why, for whoever reads the table")
    explaining = verbs.add_parser("explain", help="say where a call of a task would go, step by step, and why")
    explaining.add_argument("task", help="the task's dotted name")
    explaining.add_argument("--key", default="", help="the idempotency key or id that a percentage is decided by")
    explaining.add_argument("--engine", help="explain a call that names this engine, by .using(engine=...)")
    for verb in (setting, unset, kill):
        verb.add_argument("--by", default="", metavar="NAME", help="the author to record (default: the login name)")


def handle(options: dict[str, Any]) -> None:
    """Run the verb."""
    {"list": _list, "set": _set, "unset": _unset, "kill": _kill, "explain": _explain}[options["verb"]](options)


def _author(options: dict[str, Any]) -> str:
    return options["by"] or getpass.getuser()


def _list(_: dict[str, Any]) -> None:
    rows = table(backend_of().router.rules(fresh=True))
    print_table(
        ("pattern", "goes to", "source", "author", "since", "reason", "shadowed by"),
        [
            (
                row.pattern,
                row.effect,
                row.source,
                row.author or "-",
                when(row.created_at),
                row.reason or "-",
                row.shadowed_by or "-",
            )
            for row in rows
        ],
    )


def _set(options: dict[str, Any]) -> None:
    backend = backend_of()
    pattern = options["pattern"]
    engine, percent = parse_target(options["target"], engines=list(backend.engines), where="routes set")
    if pattern == "default":
        if percent is not None:
            raise CommandError("The default takes an engine and no percentage; give the percentage to a pattern.")
        rule = operations.set_default(backend.router, engine=engine, author=_author(options))
    else:
        rule = operations.set_rule(
            backend.router, pattern=pattern, engine=engine, percent=percent, author=_author(options)
        )
    print(f"{rule.label}: {engine}. Every process follows within {backend.configuration.override_seconds:g} s.")


def _unset(options: dict[str, Any]) -> None:
    if not operations.unset(backend_of().router, pattern=options["pattern"]):
        raise CommandError(f"No override for {options['pattern']!r}; `routes list` shows them.")
    print(f"The override of {options['pattern']} is gone; settings and environment hold again.")


def _kill(options: dict[str, Any]) -> None:
    backend, engine = backend_of(), options["engine"]
    engine, _ = parse_target(engine, engines=list(backend.engines), where="routes kill")
    if options["off"]:
        if not operations.lift(backend.router, engine=engine, author=_author(options)):
            raise CommandError(f"{engine} is not killed; `routes list` shows the rules.")
        print(f"{engine} takes new executions again. Held ones wait for `manage.py tandem retry --phase held --yes`.")
        return
    operations.kill(backend.router, engine=engine, author=_author(options), reason=options["reason"])
    print(f"No new execution goes to {engine}; what was sent finishes. Lift it with `routes kill {engine} --off`.")


def _explain(options: dict[str, Any]) -> None:
    backend = backend_of()
    try:
        task = registry.resolve(options["task"])
    except UnknownTask as error:
        raise CommandError(str(error)) from error
    facts = backend.router.facts(
        task=task.module_path,
        key=options["key"],
        requires=requirements(task),
        pinned=options["engine"],
        queue=task.queue_name,
        priority=task.priority,
    )
    for line in explain(facts, backend.router.rules(fresh=True)):
        print(line)
    for name, engine in backend.engines.items():
        if place := engine.place(task.module_path):
            print(f"On {name} it is {place}.")
