"""A deploy whose new code has a workflow's steps in another order, while executions are in the middle of it."""

import time
from contextlib import redirect_stdout
from io import StringIO
from typing import Final

from django.core.management import call_command

from tandem.ledger.models import Execution
from tests.chaos.faults.base import Fault, Scene
from tests.chaos.load import ENGINES
from tests.chaos.system import WORKERS
from tests.chaos.tasks import REVISION, changing
from tests.chaos.waiting import until

__all__ = ["FAULTS"]

_EXECUTIONS: Final = 5
_RUNNERS: Final = (*WORKERS, "service")


def _change_steps(scene: Scene) -> float:
    """Deploy, see each execution parked with the step named, deploy the old order again, retry them."""
    system, load = scene.system, scene.load
    ids = [load.extra(changing, number, engine=engine) for engine in ENGINES for number in range(_EXECUTIONS)]
    asleep = Execution.objects.filter(id__in=ids, phase="sleeping")
    until(lambda: asleep.count() == len(ids), "all are between their steps")
    system.overrides[REVISION] = "2"
    system.replace(*_RUNNERS)
    rows = Execution.objects.filter(id__in=ids)
    parked = rows.filter(phase="parked")
    try:
        until(lambda: parked.count() + rows.exclude(outcome=None).count() == len(ids), "each is parked, or over")
        named = sum("'reserve'" in row.errors[-1]["traceback"] for row in parked)
        scene.notes.append(f"{parked.count()} of {len(ids)} in the middle were parked, {named} with the step named")
    finally:
        del system.overrides[REVISION]
        system.replace(*_RUNNERS)
    with redirect_stdout(StringIO()):
        call_command("tandem", "retry", "--phase", "parked", "--yes")
    return time.time()


FAULTS: Final = (Fault(name="deploy", title="a deploy that changes a workflow's steps", inject=_change_steps),)
