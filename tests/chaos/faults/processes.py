"""Faults of Tandem's own processes: killed, frozen past their lease, asked to end."""

import time
from functools import partial
from typing import Final

from tests.chaos.faults.base import Fault, Scene
from tests.chaos.system import WORKERS
from tests.chaos.waiting import until

__all__ = ["FAULTS"]


def _kill_child(scene: Scene) -> float:
    """One in the middle of a body: what was seen in a step may be through with all by the time of the kill."""
    system = scene.system
    while True:
        children = {pid: name for name in WORKERS for pid in system.processes[name].children}
        victim = until(partial(system.busy, children), "a Celery child is in the middle of a step")
        at = system.processes[children[victim]].kill_child(victim)
        if system.left_bodies([victim]):
            return at


def _kill_worker(scene: Scene) -> float:
    return _kill_busy(scene, "worker-1")


def _kill_service(scene: Scene) -> float:
    return _kill_busy(scene, "service")


def _kill_busy(scene: Scene, name: str) -> float:
    process = scene.system.processes[name]
    while True:
        _await_busy(scene, name)
        pids = process.pids
        at = process.kill()
        scene.system.restart(name)
        if scene.system.left_bodies(pids):
            return at


def _kill_relay(scene: Scene) -> float:
    at = scene.system.processes["relay"].kill()
    scene.system.restart("relay")
    return at


def _freeze_worker(scene: Scene) -> float:
    """Until another worker has run what the frozen one still believes to hold."""
    process = scene.system.processes["worker-1"]
    frozen = set(process.pids)
    while True:
        _await_busy(scene, "worker-1")
        process.freeze()
        if scene.system.left_bodies(frozen):
            break
        process.resume()

    def taken_over() -> bool:
        lines = [line for line in scene.system.lines() if line.event in {"body-start", "body-end"}]
        ended = {(line.execution, line.fence) for line in lines if line.event == "body-end"}
        held = {
            line.execution: line.fence
            for line in lines
            if line.pid in frozen and (line.execution, line.fence) not in ended
        }
        # An older body of it may have ended elsewhere: it slept between the two.
        return any(execution in held and fence > held[execution] for execution, fence in ended)

    until(taken_over, "another worker has run what the frozen one held")
    return process.resume()


def _freeze_service(scene: Scene) -> float:
    """For longer than a lease: Restate waits for it, so nobody else runs what it holds."""
    _await_busy(scene, "service")
    process = scene.system.processes["service"]
    process.freeze()
    time.sleep(max(scene.pause, 1.5 * scene.system.lease))
    return process.resume()


def _terminate_each(scene: Scene) -> float:
    system = scene.system
    at = time.time()
    for name in (*WORKERS, "service", "relay"):
        if name != "relay":
            _await_busy(scene, name)
        at = time.time()
        status = system.processes[name].terminate()
        if status:
            scene.notes.append(f"{name} ended with status {status} after SIGTERM")
        system.restart(name)
    return at


def _await_busy(scene: Scene, name: str) -> None:
    pids = scene.system.processes[name].pids
    until(lambda: scene.system.busy(pids), f"{name} is in the middle of a step")


FAULTS: Final = (
    Fault(name="child", title="kill -9 a Celery child", inject=_kill_child),
    Fault(name="worker", title="kill -9 a Celery parent and its children", inject=_kill_worker),
    Fault(name="service", title="kill -9 the Restate service", inject=_kill_service),
    Fault(name="relay", title="kill -9 the relay", inject=_kill_relay),
    Fault(name="frozen-worker", title="a worker frozen past its lease", inject=_freeze_worker),
    Fault(name="frozen-service", title="the service frozen past a lease", inject=_freeze_service),
    Fault(name="terminate", title="SIGTERM of each process in turn", inject=_terminate_each),
)
