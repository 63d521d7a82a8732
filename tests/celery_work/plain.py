"""A Celery worker that knows nothing of Tandem: one task under a Tandem task's name."""

import os
from typing import Any

from celery import Celery

from tests.work.effects import record

app = Celery("plain", broker=os.environ["TANDEM_BROKER_URL"], fixups=[])
app.conf.update(task_default_queue="default", broker_transport_options={"sep": ":"}, worker_redirect_stdouts=False)


@app.task(name="tests.work.tasks.noop", bind=True)  # type: ignore[untyped-decorator]  # Celery ships no types
def noop(self: Any) -> None:
    record("plain-worker", self.request.id)
