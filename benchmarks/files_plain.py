"""`python -m benchmarks.files_plain SOURCE FOLDER`: the calls of the files pipeline in a plain script; answers JSON."""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from showcase.files import pipeline


def main() -> None:
    source, folder = (Path(text) for text in sys.argv[1:])
    seconds: dict[str, float] = {}

    def timed[T](name: str, call: Callable[[], T]) -> T:
        begun = time.perf_counter()
        result = call()
        seconds[name] = time.perf_counter() - begun
        return result

    accepted, cleaned = folder / "accepted.parquet", folder / "cleaned.parquet"
    rejects, chart = folder / "rejects.csv", folder / "chart.png"
    found = timed("validate", lambda: pipeline.validate(source, accepted=accepted, rejects=rejects, tick=unheard))
    findings = timed("process", lambda: pipeline.process(accepted, cleaned=cleaned, tick=unheard))
    timed("report", lambda: pipeline.chart(findings, chart))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps({"seconds": seconds, "megabytes": peak, "rows": found["rows"]}))


def unheard(_done: int, _total: int) -> None:
    """Drop the progress."""


if __name__ == "__main__":
    main()
