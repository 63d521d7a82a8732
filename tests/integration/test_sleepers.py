"""Sleepers hold no worker: with far more of them than slots, a plain task still starts at once."""

import os
import sys
import time
import uuid

import pytest

from tandem.ledger.models import Execution
from tests.integration.waiting import finished, until
from tests.work import tasks

# The promise is for 2,000 on four slots; TANDEM_TEST_SLEEPERS=2000 measures that, fewer say as much of the design.
SLEEPERS = int(os.environ.get("TANDEM_TEST_SLEEPERS", "200"))
SECONDS = 3600.0


@pytest.mark.usefixtures("workers")
def test_a_plain_task_starts_beside_many_sleepers(engine: str) -> None:
    owner = uuid.uuid4().hex
    sleepers = tasks.sleeper.using(engine=engine, owner=owner)
    results = sleepers.enqueue_many([((owner, SECONDS), {})] * SLEEPERS)
    # While they are being put to sleep ...
    early = finished(tasks.noop.using(engine=engine).enqueue(), patience=120)
    until(
        lambda: Execution.objects.filter(owner=owner, phase="sleeping").count() == SLEEPERS,
        "not all went to sleep",
        patience=240,
    )
    # ... and once all are asleep, which is when a thread for each would hurt.
    late = finished(tasks.noop.using(engine=engine).enqueue(), patience=120)
    assert Execution.objects.filter(owner=owner, phase="sleeping").count() == SLEEPERS
    for name, result in (("early", early), ("late", late)):
        assert result.started_at is not None
        assert result.enqueued_at is not None
        waited = (result.started_at - result.enqueued_at).total_seconds()
        sys.stdout.write(f"{engine}: with {SLEEPERS} sleepers a plain task started after {waited:.3f} s ({name})\n")
    started = time.monotonic()
    for result in results:
        assert result.cancel() == "cancelled"
    sys.stdout.write(f"{engine}: {SLEEPERS} sleepers cancelled in {time.monotonic() - started:.1f} s\n")
