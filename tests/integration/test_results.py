"""A result is what the ledger says of its row, whoever reads it."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from tests.work import tasks

pytestmark = pytest.mark.usefixtures("database")


@pytest.mark.parametrize(
    "changes",
    [
        {"priority": 7},
        {"queue_name": "other"},
        {"owner": "anna"},
        {"run_after": timezone.now() + timedelta(days=1)},
        {"run_after": timezone.now() - timedelta(days=1)},
        {"idempotency_key": "results"},
        {},
    ],
)
def test_a_result_is_the_same_when_it_is_read(engine: str, changes: dict[str, Any]) -> None:
    with transaction.atomic():
        result = tasks.noop.using(engine=engine, **changes).enqueue((1, 2), {3: "three"}, key=[4])
        assert tasks.noop.get_result(result.id) == result
        transaction.set_rollback(True)
