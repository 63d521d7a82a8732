from typing import Any

import pytest
from benchmarks.__main__ import arguments_of, run
from benchmarks.catalogue import CONTENDERS
from benchmarks.plots import draw

DURABLE = ("tandem-threads", "restate", "tandem-restate", "dbos")
OTHERS = ("dramatiq", "huey", "rq", "django-tasks-db")
FEW = ("--repeats=1", "--single=20", "--bulk=60", "--idle=2", "--stepped=3", "--workflow=2")


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return run(arguments_of([*FEW, f"--only={','.join([*DURABLE, *OTHERS])}"]))


def test_every_task_of_every_contender_ran_once_and_was_recorded(report: dict[str, Any]) -> None:
    assert report["faults"] == []
    enqueued = {name: found["tasks"]["enqueued"] for name, found in report["repeats"][0].items()}
    assert set(enqueued) == {*DURABLE, *OTHERS}
    assert all(enqueued.values())


@pytest.mark.parametrize("name", [*DURABLE, *OTHERS])
def test_each_contender_has_its_figures(report: dict[str, Any], name: str) -> None:
    figures = {row["figure"] for row in report["summary"] if row["contender"] == name}
    assert {"single", "bulk", "cpu", "idle_p50", "idle_p99"} <= figures
    assert ("end_to_end" if CONTENDERS[name].pushes else "drain") in figures
    assert ({"stepped", "stepped_cpu", "workflow", "workflow_cpu"} <= figures) == (name in DURABLE)


def test_each_figure_is_drawn_and_what_another_run_drew_is_gone(report: dict[str, Any], tmp_path: Any) -> None:
    (tmp_path / "old.svg").touch()
    drawn = draw(report, tmp_path)
    assert {path.stem for path in drawn} == {row["figure"] for row in report["summary"]}
    assert sorted(tmp_path.iterdir()) == sorted(drawn)
    assert "Tandem on Celery" in (tmp_path / "stepped_cpu.svg").read_text()
