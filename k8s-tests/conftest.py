"""The cluster that `run.py` names, with both charts installed once, and the table that is printed at the end."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from installation import Installation, Kubernetes

FIGURES: dict[str, str] = {}
DIAGNOSIS = (
    ("get", "pods", "--all-namespaces", "--output=wide"),
    ("get", "restateservices", "--all-namespaces", "--output=yaml"),
    ("get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"),
    ("logs", "--namespace=tandem-registrar", "deployment/tandem-registrar", "--tail=100"),
    ("logs", "--namespace=tandem", "deployment/tandem-relay", "--tail=40"),
)
MOST_CHARACTERS = 12_000
ADD_SECONDS = 300


class Figures:
    """What is measured, for the table at the end."""

    def add(self, name: str, value: str) -> None:
        """Enter a line."""
        FIGURES[name] = value

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Enter how many seconds something took."""
        started = time.monotonic()
        yield
        self.add(name, f"{time.monotonic() - started:.1f} s")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take `--short`."""
    parser.addoption("--short", action="store_true", help="leave out what is marked long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is long where that is asked for."""
    if config.getoption("--short"):
        left = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


@pytest.fixture(scope="session")
def figures() -> Figures:
    """The table."""
    return Figures()


@pytest.fixture(scope="session")
def kubernetes() -> Kubernetes:
    """The cluster."""
    return Kubernetes(
        kubeconfig=Path(os.environ["KUBECONFIG"]),
        kubectl_program=Path(os.environ["TANDEM_E2E_KUBECTL"]),
        helm_program=Path(os.environ["TANDEM_E2E_HELM"]),
    )


@pytest.fixture(scope="session")
def platform(kubernetes: Kubernetes, figures: Figures) -> Installation:
    """Both charts, installed from nothing, all of it Ready."""
    platform = Installation(kubernetes=kubernetes)
    platform.prepare()
    with figures.timed("both charts Ready, from nothing (at most 180 s)"):
        with figures.timed("  the registrar's chart"):
            platform.install_registrar()
        with figures.timed("  the platform's chart"):
            platform.install()
    return platform


@pytest.fixture(scope="session")
def second_node(kubernetes: Kubernetes) -> str:
    """The name of a node that can be drained; the local cluster gets it now."""
    if folder := os.environ.get("TANDEM_E2E_FOLDER"):
        # A process of its own: what it starts outlives it.
        command = [sys.executable, "-m", "local_node", "add", "--folder", folder]
        subprocess.run(command, check=True, timeout=ADD_SECONDS, cwd=Path(__file__).parent)
    nodes = json.loads(kubernetes.kubectl("get", "nodes", "--output=json"))["items"]
    schedulable = [node["metadata"]["name"] for node in nodes if not node["spec"].get("taints")]
    assert len(schedulable) >= 2, f"The cluster has {len(schedulable)} node(s) for pods; draining one needs two."
    return str(schedulable[-1])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Enter each test's seconds."""
    if report.when == "call":
        FIGURES[report.nodeid.partition("::")[2]] = f"{report.duration:.1f} s, {report.outcome}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, and after a failure what the cluster has to say."""
    if terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"):
        for words in DIAGNOSIS:
            terminalreporter.section(" ".join(words))
            command = [os.environ["TANDEM_E2E_KUBECTL"], *words]
            answer = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
            terminalreporter.write(answer.stdout[-MOST_CHARACTERS:] + answer.stderr)
    terminalreporter.section("figures")
    width = max((len(name) for name in FIGURES), default=0)
    for name, value in FIGURES.items():
        terminalreporter.write_line(f"{name:<{width}}  {value}")
