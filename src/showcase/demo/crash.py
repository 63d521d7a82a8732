"""Killing the worker in the middle of a stepped task, on both engines at once."""

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

from django.utils import timezone

from showcase.demo import observe
from showcase.demo.emails import ENGINES, attempts_of
from showcase.demo.report import Line, Report
from showcase.emails.models import SectionRun
from showcase.emails.tasks import SECTIONS, newsletter
from tandem.ledger.models import Execution, Step, Worker

__all__ = ["run"]

# Killed in the third section or, where this process was too slow to see it, in a later one but the last.
MIDDLE = range(3, len(SECTIONS))
SECONDS_PER_SECTION = 0.8
START_SECONDS = 30
FINISH_SECONDS = 60
BACK_WITHIN_SECONDS = 20


@dataclass(frozen=True, kw_only=True)
class Killed:
    """A worker's end, and the sections whose steps were recorded by then."""

    process: int
    section: int
    at: datetime
    recorded: frozenset[int]


@dataclass(frozen=True, kw_only=True)
class Story:
    """What became of one newsletter."""

    engine: str
    execution: Execution
    killed: Killed
    runs: Sequence[SectionRun]

    @property
    def again(self) -> SectionRun | None:
        """The first section after the kill."""
        return next((run for run in self.runs if run.started_at > self.killed.at), None)

    @property
    def seconds_away(self) -> float:
        """From the kill until another process went on."""
        return (self.again.started_at - self.killed.at).total_seconds() if self.again else 0.0

    @property
    def seconds_idle(self) -> float:
        """Of those, the ones in which a process was there that could go on: a slow machine takes long to start one."""
        if self.again is None:
            return 0.0
        # A prefork child's name begins with its parent's, which is the one that is known as a worker.
        name = self.execution.worker_ids[-1].partition("/")[0]
        ready = Worker.objects.get(pk=name).started_at
        return (self.again.started_at - max(self.killed.at, ready)).total_seconds()

    @property
    def counts(self) -> list[int]:
        """How often each section was started."""
        numbers = [run.section for run in self.runs]
        return [numbers.count(number) for number, _ in enumerate(SECTIONS, start=1)]


def run(report: Report) -> None:
    """Start one newsletter on each engine, kill each one's process, and see both resume."""
    titles = {engine: f"{engine} {uuid4()}" for engine in ENGINES}
    ids = {
        engine: newsletter.using(engine=engine).enqueue(title, SECONDS_PER_SECTION).id
        for engine, title in titles.items()
    }
    killed: dict[str, Killed] = {}

    def kill_those_in_the_middle() -> bool:
        for engine in ENGINES:
            if engine not in killed and (found := in_the_middle(titles[engine])):
                killed[engine] = kill(found, ids[engine])
        return len(killed) == len(ENGINES)

    observe.until("a section in the middle of each newsletter", kill_those_in_the_middle, timeout=START_SECONDS)
    executions = observe.finished(ids.values(), timeout=FINISH_SECONDS)
    for engine, title in titles.items():
        runs = list(SectionRun.objects.filter(newsletter=title).order_by("pk"))
        tell(report, Story(engine=engine, execution=executions[ids[engine]], killed=killed[engine], runs=runs))


def in_the_middle(title: str) -> SectionRun | None:
    """The section that is being written now, if it is one in the middle."""
    return SectionRun.objects.filter(newsletter=title, section__in=MIDDLE, finished_at=None).first()


def kill(running: SectionRun, pk: str) -> Killed:
    """Kill the process that writes this section. Raises `ScenarioError` where it is none of this stack."""
    if not descends(running.process, os.getppid()):
        raise observe.ScenarioError(f"Process {running.process} is none of this stack, so it is not killed.")
    os.kill(running.process, signal.SIGKILL)
    recorded = Step.objects.filter(execution=UUID(pk)).values_list("name", flat=True)
    return Killed(
        process=running.process,
        section=running.section,
        at=timezone.now(),
        recorded=frozenset(SECTIONS.index(name) + 1 for name in recorded),
    )


def descends(process: int, ancestor: int) -> bool:
    """Whether `ancestor` started `process`, directly or not."""
    while process > 1 and process != ancestor:
        try:
            stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
        except FileNotFoundError:
            return False
        # The command's name, in parentheses, may hold spaces; the parent is the second field after it.
        process = int(stat.rpartition(")")[2].split()[1])
    return process == ancestor


def tell(report: Report, story: Story) -> None:
    """Add the newsletter's line, and a sentence on its sections."""
    execution, killed = story.execution, story.killed
    expected: Mapping[str, bool] = {
        f"it is {execution.phase} on {execution.engine}: {observe.result_text(execution)}": (
            (execution.phase, execution.engine) == ("succeeded", story.engine)
        ),
        f"finished sections {sorted(killed.recorded)} ran again: {story.counts}": all(
            story.counts[number - 1] == 1 for number in killed.recorded
        ),
        f"only {len(killed.recorded)} sections were recorded before": len(killed.recorded) >= MIDDLE.start - 1,
        f"{len(SECTIONS)} sections ran {story.counts} times": (
            min(story.counts) == 1 and sum(story.counts) <= len(SECTIONS) + 1
        ),
        "no other process went on": story.again is not None and story.again.process != killed.process,
        f"a process that could go on took {story.seconds_idle:.1f} s, not at most {BACK_WITHIN_SECONDS} s": (
            story.seconds_idle <= BACK_WITHIN_SECONDS
        ),
        f"{execution.steps.count()} steps are recorded": execution.steps.count() == len(SECTIONS),
    }
    wrong = [words for words, right in expected.items() if not right]
    report.add(
        Line(
            task="newsletter, worker killed",
            engine=execution.engine,
            reason=execution.reason,
            steps=execution.steps.count(),
            attempts=attempts_of(execution),
            seconds=observe.seconds(execution),
            result=f"resumed in section {story.again.section}" if story.again else "not resumed",
            wrong=wrong,
        )
    )
    report.note(
        f"{story.engine}: kill -9 of process {killed.process} in section {killed.section} of {len(SECTIONS)};"
        f" {story.seconds_away:.1f} s later process {story.again.process if story.again else 'none'} went on;"
        f" runs of each section: {' '.join(map(str, story.counts))}"
    )
