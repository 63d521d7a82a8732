"""Pods follow the work: from none on Celery, from one on Restate, and back."""

import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from conftest import Figures
from installation import Installation, until

SECONDS = 12.0
NUMBER = 24


@dataclass(kw_only=True)
class Watch:
    """How many pods there are, and how many are Ready, over time."""

    platform: Installation
    selector: str
    started: float = field(default_factory=time.monotonic)
    seen: list[tuple[float, int, int]] = field(default_factory=list)

    def look(self) -> tuple[int, int]:
        """Look once; answers pods and ready pods."""
        pods = [
            pod
            for pod in self.platform.get("pods", f"--selector={self.selector}")["items"]
            if "deletionTimestamp" not in pod["metadata"]
        ]
        now = (len(pods), sum(map(is_ready, pods)))
        if not self.seen or self.seen[-1][1:] != now:
            self.seen.append((time.monotonic() - self.started, *now))
        return now

    def until_over(self, ids: list[str]) -> bool:
        """Look once; answers whether the work is done."""
        self.look()
        return over(self.platform, ids)

    def text(self) -> str:
        """Each change: seconds, pods, of them ready."""
        return ", ".join(f"{at:.0f} s: {pods} ({ready} ready)" for at, pods, ready in self.seen)


def is_ready(pod: Any) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def test_a_pool_goes_from_none_to_what_its_work_needs_and_back(platform: Installation, figures: Figures) -> None:
    watch = Watch(platform=platform, selector="app.kubernetes.io/component=worker,tandem.dev/pool=default")
    until(lambda: watch.look() == (0, 0), "the pool is not at zero", patience=240)
    watch.started = time.monotonic()
    ids = platform.enqueue_many("slow", SECONDS, engine="celery", number=NUMBER)
    until(lambda: watch.look()[1] >= 1, "no pod came")
    first = watch.seen[-1][0]
    # Two bodies in each pod, and three pods are the most of this pool.
    until(lambda: watch.look()[0] == 3, "the pool did not grow")
    until(lambda: watch.until_over(ids), "the work is not done", patience=300)
    until(lambda: watch.look() == (0, 0), "the pool did not go back to none", patience=300)
    assert platform.sql(failures(ids)) == [["0"]]
    assert platform.failed_probes() == set()
    figures.add("first pod of a pool from zero Ready (at most 30 s)", f"{first:.1f} s")
    figures.add("pods of the pool over time", watch.text())


def grows_alone(platform: Installation, task: str, busy: str, idle: str) -> Watch:
    """Have one service's pods follow its work and go back to one, while another, which has none, stays at one."""
    watch = Watch(platform=platform, selector=f"tandem.dev/restate-service={busy}")
    other = Watch(platform=platform, selector=f"tandem.dev/restate-service={idle}")
    until(lambda: watch.look() == other.look() == (1, 1), "the services are not at one", patience=240)
    watch.started = time.monotonic()
    other.seen.clear()
    ids = platform.enqueue_many(task, SECONDS, engine="restate", number=NUMBER)
    # Four bodies in each pod, and three pods are the most.
    until(lambda: (watch.look()[0], other.look()[0]) == (3, 1), "this service alone did not grow", patience=120)
    until(lambda: (watch.until_over(ids), other.look()[0]) == (True, 1), "the work is not done", patience=300)
    until(lambda: watch.look() == (1, 1), "the services did not go back to one", patience=300)
    assert {pods for _, pods, _ in other.seen} == {1}, other.text()
    assert platform.sql(failures(ids)) == [["0"]]
    return watch


def test_the_services_grow_with_their_work_and_keep_one(platform: Installation, figures: Figures) -> None:
    figures.add("pods of the services over time", grows_alone(platform, "slow", "tandem", "tandem-flows").text())


@pytest.mark.long
def test_a_service_of_some_workflows_grows_with_these_alone(platform: Installation, figures: Figures) -> None:
    figures.add("pods of the second service over time", grows_alone(platform, "busy", "tandem-flows", "tandem").text())


def named(ids: list[str]) -> str:
    return ", ".join(f"'{id_}'" for id_ in ids)


def over(platform: Installation, ids: list[str]) -> bool:
    (row,) = platform.sql(f"SELECT count(*) FROM tandem_execution WHERE outcome IS NULL AND id IN ({named(ids)})")
    return row == ["0"]


def failures(ids: list[str]) -> str:
    return f"SELECT count(*) FROM tandem_execution WHERE phase <> 'succeeded' AND id IN ({named(ids)})"
