"""The demonstration's table and its guards."""

import os
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command

from showcase.demo.crash import descends
from showcase.demo.report import Line, Report


def line(**changes: object) -> Line:
    values: dict[str, object] = {
        "task": "send_email",
        "engine": "celery",
        "reason": "pinned by the call",
        "steps": 3,
        "attempts": 1,
        "seconds": 0.123,
        "result": "2.0.0 accepted",
    }
    return Line(**values | changes)  # type: ignore[arg-type]  # the values of each test


def test_a_scenario_that_came_to_no_line_shows_its_table_all_the_same() -> None:
    """Else what is wrong, which is said below the table, would not be said."""
    heading, rule = Report().table().splitlines()
    assert "Task" in heading
    assert set(rule) == {"-", " "}


def test_a_line_shows_each_column() -> None:
    report = Report()
    report.add(line())
    heading, rule, row = report.table().splitlines()
    assert heading.split() == ["Task", "Engine", "Why", "this", "engine", "Steps", "Attempts", "Duration", "Result"]
    assert set(rule) == {"-", " "}
    assert "0.12 s" in row
    assert row.startswith("ok ")
    assert report.wrong == []


def test_a_wrong_line_is_marked_and_named() -> None:
    report = Report()
    report.add(line(wrong=["attempts is 3, not 1"]))
    assert report.table().splitlines()[2].startswith("WRONG")
    assert report.wrong == ["send_email on celery: attempts is 3, not 1"]


def test_a_wrong_note_is_marked_and_named() -> None:
    report = Report()
    report.note("the inbox counts 2", wrong=["expected 3"])
    report.note("all sent")
    assert [note.split()[0] for note in report.notes] == ["WRONG", "ok"]
    assert report.wrong == ["the inbox counts 2: expected 3"]


def test_a_long_result_goes_on_below() -> None:
    report = Report()
    report.add(line(result="word " * 40))
    rows = report.table().splitlines()
    assert len(rows) > 3
    assert sum(row.count("word") for row in rows) == 40
    assert max(map(len, rows)) < 170


def test_only_processes_of_the_stack_are_its_descendants() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert descends(child.pid, os.getpid())
        assert not descends(os.getpid(), child.pid)
        assert not descends(1, child.pid)
        child.communicate(b"\n")
    assert not descends(child.pid, os.getpid())


def test_the_demonstration_needs_every_part() -> None:
    with pytest.raises(CommandError, match="leave --only out"):
        call_command("demo", "--only", "web")
