"""When a step is said to have run."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.utils import timezone

from tandem.ledger import connection as ledger
from tandem.ledger.hot import attempts, claims
from tandem.ledger.models import Execution, Step
from tests.work import tasks


@pytest.mark.usefixtures("database")
def test_a_step_that_is_recorded_in_its_own_transaction_ends_when_it_is_recorded() -> None:
    result = tasks.noop.using(engine="celery", run_after=timezone.now() + timedelta(hours=1)).enqueue()
    Execution.objects.filter(id=result.id).update(phase="queued")
    claim = ledger.execute(claims.claim(id=UUID(result.id), engine="celery", worker="test", lease=60))
    assert claim is not None
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        [began] = cursor.fetchone()
        cursor.execute("SELECT pg_sleep(0.2)")
        ledger.execute_in_transaction(
            attempts.checkpoint(claim.lease, name="pay", occurrence=0, position=0, result="1", seconds=0.2)
        )
    step = Step.objects.get(execution_id=result.id)
    assert step.finished_at >= began + timedelta(seconds=0.2)
    assert step.started_at >= began
    result.cancel()
