"""Routing rules that a person sets while the system runs: checked against what exists, then stored."""

from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from tandem import registry
from tandem.backend import TandemBackend
from tandem.exceptions import RouteError
from tandem.ledger.models import Override as Row
from tandem.routing import Kind, Override, problems

__all__ = ["kill", "lift", "set_default", "set_rule", "unset"]


def set_rule(backend: TandemBackend, *, pattern: str, engine: str, percent: Decimal | None, author: str) -> Override:
    """Pin the tasks of `pattern` to `engine`, or send a percentage of them there; replaces the pattern's override."""
    kind = Kind.PIN if percent is None else Kind.PERCENT
    return _store(backend, Override(kind=kind, pattern=pattern, engine=engine, percent=percent, author=author))


def set_default(backend: TandemBackend, *, engine: str, author: str) -> Override:
    """Send what no other rule names to `engine`."""
    return _store(backend, Override(kind=Kind.DEFAULT, engine=engine, author=author))


def kill(backend: TandemBackend, *, engine: str, author: str, reason: str = "") -> Override:
    """Stop new rows going to `engine`; what was sent finishes."""
    return _store(backend, Override(kind=Kind.KILL, engine=engine, author=author, reason=reason))


def lift(backend: TandemBackend, *, engine: str, author: str) -> bool:
    """Lift a kill switch, wherever it was set; False where there is none."""
    rules = backend.router.rules(fresh=True)
    if engine not in rules.kills:
        return False
    Row.objects.filter(kind="kill", engine=engine).delete()
    if engine in backend.router.rules(fresh=True).kills:
        _store(backend, Override(kind=Kind.OFF, engine=engine, author=author))
    return True


def unset(backend: TandemBackend, *, pattern: str) -> bool:
    """Remove the override of a pattern (or `default`), so that settings hold again; False where there is none."""
    rows = Row.objects.filter(kind="default") if pattern == "default" else Row.objects.filter(pattern=pattern)
    deleted, _ = rows.delete() if pattern else (0, {})
    backend.router.rules(fresh=True)
    return bool(deleted)


def _store(backend: TandemBackend, override: Override) -> Override:
    found = problems([override], list(registry.registered_tasks()), list(backend.engines))
    if found:
        raise RouteError(" ".join(found))
    with transaction.atomic(using="default"):
        slot, name = override.slot
        if slot == "default":
            Row.objects.filter(kind="default").delete()
        elif slot == "pattern":
            Row.objects.filter(pattern=name).delete()
        else:
            Row.objects.filter(pattern="", engine=name).exclude(kind="default").delete()
        Row.objects.create(
            kind=Kind(override.kind).value,
            pattern=override.pattern,
            engine=override.engine,
            percent=override.percent,
            salt=override.salt,
            reason=override.reason,
            author=override.author,
            created_at=timezone.now(),
        )
    backend.router.rules(fresh=True)
    return override
