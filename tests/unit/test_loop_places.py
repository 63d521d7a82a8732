"""Where the code base makes threads, tasks and endless loops: `tandem.loops`, and the places below, each with its reason."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCES: Final = ("src/tandem", "src/showcase", "operators/registrar/src/registrar")
MAKERS: Final = {"Thread", "Timer", "create_task", "ensure_future"}

OWN: Final = "is a loop by itself: its own test throws at it"
ENDS: Final = "comes to an end: each turn gets nearer to it, or it is one call's"
AWAITED: Final = "is awaited by who made it, which hears of its error"

PLACES: Final = {
    "src/tandem/probes/loops.py Loop.start": "the one place",
    "src/tandem/probes/loops.py Loop.run": "the one place",
    "src/tandem/probes/loops.py Loop.arun": "the one place",
    "src/tandem/relay.py Lane._send_due": ENDS,
    "src/tandem/ledger/groups.py _Lane._wait": ENDS,
    # One program each, of `tandem up`: test_embedded_supervisor.
    "src/tandem/embedded/processes.py Process.__init__": OWN,
    "src/tandem/embedded/processes.py Process._run": OWN,
    "src/tandem/embedded/processes.py Process._keep": OWN,
    "src/tandem/embedded/processes.py Process._once": OWN,
    "src/tandem/embedded/supervisor.py Supervisor.acquire": ENDS,
    "src/tandem/management/up.py handle": ENDS,
    "src/tandem/management/up.py _stop": ENDS,
    # A turn is one broken connection, journal entry or body of one invocation, whose error Restate is told.
    "src/tandem/engines/restate/journal.py Journal.begin": AWAITED,
    "src/tandem/engines/restate/invocation.py _Invocation.run": ENDS,
    "src/tandem/engines/restate/invocation.py _Invocation._run_async": AWAITED,
    "src/tandem/engines/restate/invocation.py _Invocation._wait": AWAITED,
    "src/tandem/engines/restate/client.py _Connection.receive": ENDS,
    "src/tandem/engines/restate/answers.py read_answer": ENDS,
    "src/tandem/engines/restate/serving.py _granian": AWAITED,
    "src/tandem/engines/restate/server.py _serve": AWAITED,
    "src/tandem/engines/restate/server.py _until": ENDS,
    # A body on its loop, and a worker's end.
    "src/tandem/engines/celery/worker.py _Worker.on_shutting_down": ENDS,
    "src/showcase/demo/observe.py until": ENDS,
    "src/showcase/tabular/encoding.py _first_bad_byte": ENDS,
    "src/tandem/execution/drivers.py drive": ENDS,
    "src/tandem/execution/drivers.py adrive": ENDS,
    # The registrar imports nothing of tandem: test_health of its tests.
    "operators/registrar/src/registrar/__main__.py operate": OWN,
    "operators/registrar/src/registrar/health.py Heartbeat.run": OWN,
    "operators/registrar/src/registrar/scheduler.py Scheduler.wake": OWN,
    "operators/registrar/src/registrar/scheduler.py Scheduler._look_after": OWN,
    "operators/registrar/src/registrar/controller.py Controller.run": ENDS,
    "operators/registrar/src/registrar/serving.py serve": "the standard library's, which no request's error ends",
}


def found() -> Iterator[str]:
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            yield from _in(ast.parse(path.read_text()), str(path.relative_to(ROOT)), ())


def _in(node: ast.AST, path: str, names: tuple[str, ...]) -> Iterator[str]:
    if _is_endless(node):
        yield f"{path} {'.'.join(names)}"
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        names = (*names, node.name)
    for child in ast.iter_child_nodes(node):
        yield from _in(child, path, names)


def _is_endless(node: ast.AST) -> bool:
    match node:
        case ast.While(test=ast.Constant(value=True) | ast.UnaryOp(op=ast.Not())):
            return True
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in MAKERS
        case ast.Attribute(attr="serve_forever"):
            return True
        case _:
            return False


def test_each_place_is_known() -> None:
    places = set(found())
    assert places - set(PLACES) == set(), "make it a tandem.loops.Loop, or say here why it needs none"
    assert set(PLACES) - places == set(), "it is there no more"
