"""`USE_TZ = False`: Django's times have no zone then, and are the project's own; what is shown with a Z is UTC."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.core.management import call_command
from django.db import connection
from django.tasks import default_task_backend
from django.test import override_settings
from django.utils import timezone

from tandem.ledger import connection as ledger
from tandem.ledger.hot import claims
from tandem.ledger.results import result_of_claim
from tests.integration.test_restate_service import insert
from tests.work import tasks

ZONE = "Asia/Kolkata"


@pytest.fixture
def local(database: None) -> Iterator[None]:
    with override_settings(USE_TZ=False, TIME_ZONE=ZONE):
        yield
        ledger.close()


def moment(id_: str, column: str) -> datetime:
    """The moment itself, whatever Django makes of it."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT extract(epoch FROM {column})::float8 FROM tandem_execution WHERE id = %s", [id_])
        return datetime.fromtimestamp(cursor.fetchone()[0], UTC)


@pytest.mark.parametrize("aware", [False, True])
def test_a_time_without_a_zone_is_the_projects(local: None, aware: bool, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: FBT001  # a parameter
    wanted = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)
    given = wanted if aware else wanted.astimezone(ZoneInfo(ZONE)).replace(tzinfo=None)
    result = tasks.noop.using(engine="celery", run_after=given).enqueue()
    assert result.phase == "deferred"
    assert moment(result.id, "due_at") == wanted
    assert result.enqueued_at is not None
    assert timezone.is_naive(result.enqueued_at)
    assert default_task_backend.get_result(result.id) == result
    call_command("tandem", "show", result.id)
    shown = capsys.readouterr().out
    assert f"{wanted:%Y-%m-%d %H:%M:%S}Z" in shown
    assert f"{moment(result.id, 'created_at'):%Y-%m-%d %H:%M:%S}Z" in shown


def test_a_body_sees_the_times_that_a_reader_sees(local: None) -> None:
    row = insert(tasks.noop)
    claimed = ledger.execute(claims.claim(id=row.id, engine="restate", worker="w", lease=3.0))
    assert claimed is not None
    seen = result_of_claim(tasks.noop, claimed)
    row.refresh_from_db()
    assert (seen.enqueued_at, seen.started_at) == (row.created_at, row.started_at)
    assert seen.started_at is not None
    assert timezone.is_naive(seen.started_at)
