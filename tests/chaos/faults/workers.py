"""Faults of Tandem's own processes."""

from typing import Final

from tests.chaos.faults.base import Fault, Scene
from tests.chaos.system import WORKERS
from tests.chaos.waiting import until

__all__ = ["FAULTS"]


def _kill_child(scene: Scene) -> float:
    system = scene.system
    children = {pid: name for name in WORKERS for pid in system.processes[name].children}
    victim = until(lambda: system.busy(children), "a Celery child is in the middle of a step")
    return system.processes[children[victim]].kill_child(victim)


def _kill_worker(scene: Scene) -> float:
    return _kill_busy(scene, "worker-1")


def _kill_service(scene: Scene) -> float:
    return _kill_busy(scene, "service")


def _kill_busy(scene: Scene, name: str) -> float:
    process = scene.system.processes[name]
    until(lambda: scene.system.busy(process.pids) is not None, f"{name} is in the middle of a step")
    at = process.kill()
    scene.system.restart(name)
    return at


def _kill_relay(scene: Scene) -> float:
    at = scene.system.processes["relay"].kill()
    scene.system.restart("relay")
    return at


FAULTS: Final = (
    Fault(name="celery-child", title="kill -9 a Celery child", inject=_kill_child),
    Fault(name="celery-parent", title="kill -9 a Celery parent and children", inject=_kill_worker),
    Fault(name="service", title="kill -9 the Restate service", inject=_kill_service),
    Fault(name="relay", title="kill -9 the relay", inject=_kill_relay),
)
