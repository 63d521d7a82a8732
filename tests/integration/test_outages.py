"""A broker, a runtime or a ledger that is not there: the caller is told only what it can act on, and nothing is lost."""

import copy
import logging
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from django.test import override_settings

from tandem import LedgerNotMigrated
from tandem.embedded.ports import Ports
from tandem.engines.celery.durable import CeleryDurable
from tandem.execution.runner import Runner
from tandem.ledger import connection as ledger
from tandem.ledger.hot import claims, inserts
from tandem.ledger.identity import new_id
from tandem.ledger.models import Execution
from tandem.ledger.rows import NewExecution
from tests.integration.waiting import finished
from tests.work import tasks
from tests.work.effects import recorded


def with_nobody_there(engine: str) -> dict[str, Any]:
    """The settings, with an engine's servers where nothing listens."""
    nobody = Ports.free()
    changed: dict[str, Any] = copy.deepcopy(settings.TASKS)
    options = changed["default"]["OPTIONS"]["ENGINES"][engine]
    if engine == "celery":
        options["BROKER_URL"] = f"redis://127.0.0.1:{nobody.redis}/0"
    else:
        options["INGRESS_URL"] = f"http://127.0.0.1:{nobody.restate_ingress}"
    return changed


@pytest.mark.usefixtures("workers")
def test_the_caller_succeeds_and_the_relay_sends_it_later(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    mark = uuid.uuid4().hex
    with override_settings(TASKS=with_nobody_there(engine)), caplog.at_level(logging.WARNING, "tandem"):
        one = tasks.refuse.using(engine=engine).enqueue(mark)
        with transaction.atomic():
            many = tasks.refuse.using(engine=engine).enqueue_many([((mark,), {})] * 3)
    (said,) = [text for text in caplog.messages if "the relay sends" in text]
    assert "127.0.0.1" in said
    # The running relay has the real servers: to it they have come back.
    for result in (one, *many):
        assert finished(result).phase == "failed"
    assert len(recorded(mark)) == 4


@pytest.mark.usefixtures("database")
def test_a_failed_push_is_written_on_the_row(engine: str) -> None:
    with override_settings(TASKS=with_nobody_there(engine)):
        result = tasks.noop.using(engine=engine).enqueue()
        row = Execution.objects.get(pk=result.id)
    assert result.phase == "queued"
    # Either the relay has not seen it yet, or it has sent it already.
    assert row.due_at is not None or row.sent_at is not None


@pytest.mark.usefixtures("workers")
def test_check_names_what_is_unreachable(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    changed = with_nobody_there(engine)
    with override_settings(TASKS=changed), pytest.raises(CommandError, match="problem"):
        call_command("tandem", "check")
    options = changed["default"]["OPTIONS"]["ENGINES"][engine]
    address = options["BROKER_URL" if engine == "celery" else "INGRESS_URL"].partition("://")[2].partition("/")[0]
    assert address in capsys.readouterr().out


@pytest.fixture
def empty_database(database: None) -> Iterator[None]:
    """A database of the same server in which nothing was migrated."""
    name = f"empty_{uuid.uuid4().hex}"
    with connections["default"].cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    before = connections["default"].settings_dict["NAME"]
    connections["default"].close()
    connections["default"].settings_dict["NAME"] = name
    yield
    connections["default"].close()
    connections["default"].settings_dict["NAME"] = before
    with connections["default"].cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.usefixtures("empty_database")
def test_a_ledger_that_is_not_migrated_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LedgerNotMigrated, match=r"Run `manage\.py migrate`"):
        tasks.noop.enqueue()
    with pytest.raises(CommandError, match="problem"):
        call_command("tandem", "check")
    assert "The ledger is not migrated (tandem.0001_initial)" in capsys.readouterr().out


@pytest.mark.usefixtures("database")
def test_a_process_that_lacks_a_task_loses_nothing() -> None:
    """Its code may come with the next deploy: the row says why it waits, and counts no attempt."""
    id_ = new_id()
    new = NewExecution(
        id=id_,
        task="tests.work.tasks.not_deployed_yet",
        queue="default",
        priority=0,
        arguments='{"args": [], "kwargs": {}}',
        engine="nobody",
        reason="default",
        pinned=False,
        phase="queued",
    )
    ledger.execute(inserts.insert_one(new))
    runner = Runner(lease_seconds=30, max_result_bytes=1_000, max_lost_leases=3)
    outcome = runner.run(claims.claim(id=id_, engine="nobody", worker="w", lease=30), CeleryDurable())
    assert outcome.kind == "refused"
    row = Execution.objects.get(pk=id_)
    assert (row.phase, row.attempts) == ("queued", 0)
    assert "No task 'tests.work.tasks.not_deployed_yet' in this process" in row.events.get().detail
    # `check`, which other tests run, would name it.
    row.delete()
