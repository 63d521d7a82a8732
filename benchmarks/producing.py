"""The parent's side of `benchmarks.producer`: the process that enqueues for one contender."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.contender import Contender
from benchmarks.environment import ROOT, Environment
from benchmarks.processes import end_group, python, with_parent

__all__ = ["Producer", "Unfinished"]


class Unfinished(RuntimeError):
    """A producer ended, or tasks did not run in time."""


class Producer:
    """The process that enqueues; see `benchmarks.producer`."""

    def __init__(self, contender: Contender, environment: Environment, logs: Path) -> None:
        self._log = logs / f"{contender.name}-producer.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                with_parent(python("-m", "benchmarks.producer", contender.module)),
                env=environment.variables(),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
            )

    def call(self, command: str, **values: Any) -> Mapping[str, Any]:
        """Send one command and wait for its answer; raises `Unfinished` where the process ended instead."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"command": command, **values}).encode() + b"\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer:
            raise Unfinished(f"The producer ended. Its log:\n{self._log.read_text(errors='replace')[-3_000:]}")
        found: Mapping[str, Any] = json.loads(answer)
        return found

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def stop(self) -> None:
        """End it, and close what led to it."""
        with self._process:
            end_group(self._process)
