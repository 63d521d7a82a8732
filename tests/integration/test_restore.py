"""A backup and a restore of the ledger, by the commands of docs/operating.md, while worker and relay run."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from django.db import connections

from tandem.embedded.binaries import postgres
from tandem.embedded.stack import Stack
from tandem.ledger import connection as ledger
from tandem.ledger.models import Execution
from tests.integration.ledger_database import ledger_database
from tests.integration.waiting import finished, until
from tests.servers import using
from tests.work import tasks
from tests.work.effects import recorded

ROOT = Path(__file__).resolve().parents[2]


def shown(number: int) -> str:
    """A block of commands of the page's section."""
    section = (ROOT / "docs" / "operating.md").read_text().partition("## Backup and restore\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    return str(blocks[number])


@pytest.mark.usefixtures("database")
def test_what_was_enqueued_before_a_backup_runs_after_the_restore(
    servers: Stack, effects: Path, tmp_path: Path, mark: str
) -> None:
    broker = {"TANDEM_BROKER_URL": servers.addresses["TANDEM_BROKER_URL"].rpartition("/")[0] + "/5"}
    with ledger_database(servers), using(broker):
        url = os.environ["DATABASE_URL"]
        environment = {**os.environ, "PATH": f"{postgres().path.parent}{os.pathsep}{os.environ['PATH']}"}
        environment |= {"DATABASE_URL": url, "ADMIN_URL": url.rpartition("/")[0] + "/postgres"}
        environment["DATABASE"] = url.rpartition("/")[2]

        def do(commands: str) -> None:
            subprocess.run(["sh", "-euc", commands], cwd=tmp_path, env=environment, check=True, timeout=120)

        early = tasks.refuse.using(engine="celery").enqueue(f"{mark}-early")
        do(shown(0))
        of_processes = {**environment, "DJANGO_SETTINGS_MODULE": "tests.settings", "TANDEM_TEST_EFFECTS": str(effects)}
        of_processes["PYTHONPATH"] = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
        only = ("worker", "relay")
        with Stack(data=tmp_path, ports=servers.ports, only=only, directory=ROOT, environment=of_processes):
            late = tasks.refuse.using(engine="celery").enqueue(f"{mark}-late")
            assert [finished(one).phase for one in (early, late)] == ["failed", "failed"]
            ledger.close()
            connections.close_all()
            do(shown(1))
            # What ended after the backup runs again; what was enqueued after it is not known any more.
            until(lambda: len(recorded(f"{mark}-early")) == 2, "what was restored does not run")
            assert finished(early).phase == "failed"
            assert not Execution.objects.filter(pk=late.id).exists()
