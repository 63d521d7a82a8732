import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tandem.embedded.exceptions import StackError
from tandem.embedded.processes import Backoff, Program
from tandem.embedded.supervisor import Supervisor

PATIENCE = 30.0
FOREVER = "import time\ntime.sleep(600)"
# A grandchild that left its parent's group and session, and a child that stayed.
FAMILY = """
import subprocess, sys, pathlib, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
children = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
pathlib.Path({path!r}).write_text(" ".join(str(child.pid) for child in children))
time.sleep(600)
"""
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


def program(name: str, source: str = FOREVER, **options: Any) -> Program:
    return Program(name=name, command=[sys.executable, "-u", "-c", source], **options)


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"Waited in vain: {what}"
        time.sleep(0.01)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Exists:
    """A probe: ready when the file is there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> str | None:
        return None if self.path.exists() and self.path.read_text() else f"no {self.path.name}"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Supervisor]]:
    started = []

    def start(*programs: Program, healthy: float = 60.0) -> Supervisor:
        supervisor = Supervisor(data=tmp_path / "data", backoff=Backoff(first=0.02, limit=0.08, healthy=healthy))
        started.append(supervisor)
        supervisor.acquire()
        supervisor.launch(programs)
        return supervisor

    yield start
    for supervisor in started:
        supervisor.stop()


def log(tmp_path: Path, name: str) -> str:
    return (tmp_path / "data" / "logs" / f"{name}.log").read_text()


def again(supervisor: Supervisor, number: int) -> bool:
    return supervisor.restarts("a") == number and supervisor.is_ready("a")


def test_what_dies_is_started_again_with_backoff(start: Callable[..., Supervisor], tmp_path: Path) -> None:
    supervisor = start(program("a"))
    supervisor.wait_ready(PATIENCE)
    for number in range(1, 5):
        before = supervisor.pids("a")
        supervisor.kill("a")
        until(partial(again, supervisor, number), "ready again")
        assert supervisor.pids("a") != before
    delays = [line.rpartition(" in ")[2] for line in log(tmp_path, "a").splitlines() if "starting again" in line]
    assert delays == ["0.02 s", "0.04 s", "0.08 s", "0.08 s"]
    assert "was ended by SIGKILL after" in log(tmp_path, "a")


def test_a_healthy_time_resets_the_backoff(start: Callable[..., Supervisor], tmp_path: Path) -> None:
    supervisor = start(program("a", "import sys, time\ntime.sleep(0.2)\nsys.exit(7)"), healthy=0.1)
    supervisor.wait_ready(PATIENCE)
    until(lambda: supervisor.restarts("a") > 1, "two restarts")
    supervisor.stop()
    delays = {line.rpartition(" in ")[2] for line in log(tmp_path, "a").splitlines() if "exited with status 7" in line}
    assert delays == {"0.02 s"}


class Fails:
    """A callable that fails, at first or always."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, *_: object) -> Any:
        self.left -= 1
        if self.left >= 0:
            raise KeyError("a bug")


def test_no_error_of_a_programs_parts_ends_its_keeping(start: Callable[..., Supervisor], tmp_path: Path) -> None:
    """Not one of its probe, of who reads its lines (it would stop at a full pipe), or of a later start."""
    path = tmp_path / "written"
    source = f"for _ in range(20_000): print('x' * 20)\nopen({str(path)!r}, 'w').write('all')\n{FOREVER}"
    environments: list[Callable[[], Any]] = [dict]

    def environ() -> dict[str, str]:
        return environments[-1]() or {}

    supervisor = start(program("a", source, environment=environ, probe=Fails(3), on_line=Fails(10**6)))
    supervisor.wait_ready(PATIENCE)
    until(path.exists, "nobody reads its lines")
    environments.append(Fails(2))
    supervisor.kill("a")
    until(lambda: supervisor.restarts("a") >= 3 and supervisor.is_ready("a"), "it is not started again")
    assert "could not be started (KeyError: 'a bug')" in log(tmp_path, "a")
    assert "a line was not understood" in log(tmp_path, "a")


def test_an_end_before_readiness_is_told_with_the_last_lines(start: Callable[..., Supervisor]) -> None:
    supervisor = start(
        program("a", "print('first'); print('no such setting'); raise SystemExit(4)", probe=lambda: "not yet"),
        program("b", after=frozenset({"a"})),
    )
    with pytest.raises(StackError, match=r"(?s)a is not ready: it exited with status 4.*no such setting\n.*a\.log"):
        supervisor.wait_ready(PATIENCE)
    assert supervisor.pids("b") == []


def test_patience_is_bounded_and_says_what_was_missing(start: Callable[..., Supervisor]) -> None:
    supervisor = start(program("a", probe=lambda: "port 1 is closed", patience=0.1))
    with pytest.raises(StackError, match=r"a is not ready: after 0\.1 s: port 1 is closed"):
        supervisor.wait_ready(PATIENCE)


def test_waiting_is_bounded_too(start: Callable[..., Supervisor]) -> None:
    supervisor = start(program("a", probe=lambda: "still closed"))
    with pytest.raises(StackError, match="a is not ready"):
        supervisor.wait_ready(0.3)


def test_a_program_that_cannot_be_run_is_told(start: Callable[..., Supervisor]) -> None:
    supervisor = start(Program(name="a", command=["/nonexistent/program"], probe=lambda: "not yet"))
    with pytest.raises(StackError, match=r"(?s)a is not ready.*/nonexistent/program"):
        supervisor.wait_ready(PATIENCE)


def test_an_error_in_the_first_set_up_is_told(start: Callable[..., Supervisor]) -> None:
    def prepare() -> None:
        raise StackError("the disk is full")

    supervisor = start(program("a", prepare=prepare))
    with pytest.raises(StackError, match="a is not ready: the disk is full"):
        supervisor.wait_ready(PATIENCE)


def test_one_off_programs_are_ready_when_they_end_well(start: Callable[..., Supervisor], tmp_path: Path) -> None:
    made = tmp_path / "made"
    supervisor = start(
        program("later", f"assert open({str(made)!r}).read() == 'x'\n{FOREVER}", after=frozenset({"once"})),
        program("once", f"import time; time.sleep(0.2); open({str(made)!r}, 'w').write('x')", once=True),
    )
    supervisor.wait_ready(PATIENCE)
    assert supervisor.pids("once") == []
    assert supervisor.is_ready("once")
    assert len(supervisor.pids("later")) == 1


def test_a_one_off_program_that_fails_stops_the_start(start: Callable[..., Supervisor]) -> None:
    supervisor = start(program("once", "raise SystemExit(1)", once=True), program("b", after=frozenset({"once"})))
    with pytest.raises(StackError, match="once is not ready: it exited with status 1"):
        supervisor.wait_ready(PATIENCE)


def test_stopping_goes_backwards(start: Callable[..., Supervisor], tmp_path: Path) -> None:
    order = tmp_path / "order"
    source = (
        "import signal, sys, time, pathlib\n"
        "def end(*_):\n time.sleep(0.1); open({order!r}, 'a').write('{name} '); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\npathlib.Path({ready!r}).write_text('x')\ntime.sleep(600)"
    )

    def one(name: str, *after: str) -> Program:
        ready = tmp_path / f"{name}.ready"
        text = source.format(order=str(order), name=name, ready=str(ready))
        return program(name, text, after=frozenset(after), probe=Exists(ready))

    supervisor = start(one("database"), one("worker", "database"), one("relay", "worker"))
    supervisor.wait_ready(PATIENCE)
    supervisor.stop()
    assert order.read_text().split() == ["relay", "worker", "database"]


def test_stopping_leaves_no_grandchild_and_kills_the_stubborn(start: Callable[..., Supervisor], tmp_path: Path) -> None:
    path = tmp_path / "pids"
    supervisor = start(program("a", STUBBORN + FAMILY.format(path=str(path)), probe=Exists(path), grace=0.3))
    supervisor.wait_ready(PATIENCE)
    pids = supervisor.pids("a")
    assert len(pids) == 3
    assert supervisor.rss()["a"] > 3_000_000
    supervisor.stop()
    assert not [pid for pid in pids if lives(pid)]
    assert "did not end within 0.3 s: killed" in log(tmp_path, "a")


def test_hurrying_does_not_wait_for_the_grace_time(start: Callable[..., Supervisor], tmp_path: Path) -> None:
    path = tmp_path / "ready"
    source = f"{STUBBORN}open({str(path)!r}, 'w').write('x')\n{FOREVER}"
    supervisor = start(program("a", source, probe=Exists(path), grace=600.0))
    supervisor.wait_ready(PATIENCE)
    stopper = threading.Thread(target=supervisor.stop)
    stopper.start()
    supervisor.hurry()
    stopper.join(PATIENCE)
    assert not stopper.is_alive()


def test_what_a_dead_program_leaves_is_ended_before_it_starts_again(
    start: Callable[..., Supervisor], tmp_path: Path
) -> None:
    path = tmp_path / "pids"
    supervisor = start(program("a", FAMILY.format(path=str(path)), probe=Exists(path)))
    supervisor.wait_ready(PATIENCE)
    before = supervisor.pids("a")
    supervisor.kill("a")
    until(lambda: supervisor.restarts("a") == 1 and len(supervisor.pids("a")) == 3, "the new family")
    assert not [pid for pid in before if lives(pid)]


def test_a_stop_while_starting_is_told_and_leaves_nothing(start: Callable[..., Supervisor]) -> None:
    supervisor = start(program("a", probe=lambda: "never"), program("b", after=frozenset({"a"})))
    until(lambda: supervisor.pids("a"), "a process")
    (pid,) = supervisor.pids("a")
    threading.Timer(0.1, supervisor.stop).start()
    with pytest.raises(StackError, match="was stopped while it was starting"):
        supervisor.wait_ready(PATIENCE)
    supervisor.stop()
    assert not lives(pid)


def test_a_folder_has_one_supervisor(start: Callable[..., Supervisor], tmp_path: Path) -> None:
    first = start(program("a"))
    with pytest.raises(StackError, match=rf"Another supervisor \(process {os.getpid()}\) runs on .*choose another"):
        start(program("a"))
    first.stop()
    start(program("a")).wait_ready(PATIENCE)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="--data or TANDEM_DATA"):
        Supervisor(data=tmp_path / "file").acquire()


def test_a_name_that_is_not_there_is_told(start: Callable[..., Supervisor]) -> None:
    with pytest.raises(StackError, match="'b' is no part of this stack, which has: a"):
        start(program("a")).pids("b")


def test_a_killed_guard_is_replaced(start: Callable[..., Supervisor], tmp_path: Path) -> None:
    supervisor = start(program("a"))
    supervisor.wait_ready(PATIENCE)
    assert supervisor._guard is not None
    killed = supervisor._guard
    killed.kill()
    until(lambda: not lives(killed.pid), "the guard's end")
    supervisor.kill("a")
    until(lambda: supervisor._guard is not killed, "another guard")
    assert f"the guard (process {killed.pid}) is gone" in log(tmp_path, "tandem")
    until(lambda: supervisor.is_ready("a"), "ready again")


def test_logs_have_names_colours_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal, expected in ((False, "     a | grüß"), (True, "\x1b[33m     a |\x1b[0m grüß")):
        monkeypatch.delenv("NO_COLOR", raising=False)
        console = (tmp_path / "console").open("w+")
        monkeypatch.setattr(console, "isatty", lambda terminal=terminal: terminal, raising=False)
        supervisor = Supervisor(data=tmp_path / "data", console=console)
        supervisor.acquire()
        supervisor.launch([program("a", "print('grüß', flush=True)", once=True)])
        supervisor.wait_ready(PATIENCE)
        supervisor.stop()
        console.seek(0)
        assert console.read() == f"{expected}\n"
        console.close()
    assert log(tmp_path, "a").endswith("Z grüß\n")


KILLED = """
import sys
from pathlib import Path
from tandem.embedded.processes import Program
from tandem.embedded.supervisor import Supervisor
source, path, data = sys.argv[1:]
supervisor = Supervisor(data=Path(data))
supervisor.acquire()
supervisor.launch([Program(name="a", command=[sys.executable, "-c", source],
                           probe=lambda: None if Path(path).exists() and Path(path).read_text() else "no")])
supervisor.wait_ready(30)
print(supervisor._guard.pid, *supervisor.pids("a"), flush=True)
supervisor._processes["a"]._thread.join()
"""


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_killed_supervisor_leaves_nothing_and_its_folder_is_free_again(
    start: Callable[..., Supervisor], tmp_path: Path, *, stubborn: bool
) -> None:
    path = tmp_path / "pids"
    source = (STUBBORN if stubborn else "") + FAMILY.format(path=str(path))
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, source, str(path), str(tmp_path / "data")], stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdout is not None
        guard, *pids = map(int, killed.stdout.readline().split())
        assert len(pids) == 3
        killed.kill()
    # The kernel's signal ends the one that heeds it at once; the guard ends the others, and gives the lock up last.
    start(program("b")).wait_ready(PATIENCE)
    assert not [pid for pid in [guard, *pids] if lives(pid)]


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel for a signal at the parent's death")
def test_without_its_guard_too_a_killed_supervisor_ends_its_programs(tmp_path: Path) -> None:
    path = tmp_path / "pids"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, FAMILY.format(path=str(path)), str(path), str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        text=True,
    ) as killed:
        assert killed.stdout is not None
        guard, own, *children = map(int, killed.stdout.readline().split())
        os.kill(guard, signal.SIGKILL)
        killed.kill()
    until(lambda: not lives(own), "the program's end")
    for pid in filter(lives, children):
        os.kill(pid, signal.SIGKILL)
