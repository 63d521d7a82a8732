"""A side-effect log that outlives any process: one line for each time a body or step really ran."""

import os
import time
from pathlib import Path


def record(name: str, *facts: object) -> None:
    """Append one line; short appends to one file are atomic."""
    line = " ".join(str(fact) for fact in (name, os.getpid(), f"{time.time():.3f}", *facts))
    with Path(os.environ["TANDEM_TEST_EFFECTS"]).open("a") as log:
        log.write(line + "\n")


def recorded(name: str) -> list[list[str]]:
    """Every line of a name: pid, time, facts."""
    path = Path(os.environ["TANDEM_TEST_EFFECTS"])
    if not path.exists():
        return []
    return [line.split()[1:] for line in path.read_text().splitlines() if line.split()[0] == name]
