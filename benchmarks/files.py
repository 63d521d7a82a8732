"""`python -m benchmarks.files`: a large file through the files workload on each engine, beside the same calls alone.

The file is uploaded to the page, as people do. Peak memory is each process's own high-water mark.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.environment import ROOT

__all__ = ["main"]

ENGINES: Final = ("celery", "restate")
PROCESSES: Final = {"celery": "worker", "restate": "service"}
STEPS: Final = ("validate", "process", "report")
MOST_MEGABYTES: Final = 500
MOST_TIMES: Final = 1.5
FINISH_SECONDS: Final = 600


@dataclass(frozen=True, kw_only=True)
class Run:
    """One file's way: seconds of each step, of all from enqueue to report, and the largest process that worked on it."""

    steps: dict[str, float]
    seconds: float
    megabytes: float


def main() -> int:
    """Run and print a table; 0 where both aims are met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.files", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()

    from tandem.embedded.ports import Ports  # noqa: PLC0415  # an extra of the distribution
    from tandem.embedded.stack import Stack  # noqa: PLC0415  # as above

    home = ROOT / ".tandem"
    home.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=home) as name:
        folder = Path(name)
        environment = {"DJANGO_SETTINGS_MODULE": "showcase.settings", "PYTHONPATH": os.fspath(ROOT / "src")}
        source = folder / "orders.csv"
        subprocess.run(
            [sys.executable, "manage.py", "make_data", "--rows", str(arguments.rows), "--output", str(source)],
            cwd=ROOT, env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        stack = Stack(
            data=folder / "stack",
            ports=Ports.free(),
            manage=[sys.executable, "manage.py"],
            directory=ROOT,
            wsgi="showcase.wsgi:application",
            environment=environment,
        )
        with stack:
            os.environ.update(environment | stack.addresses | {"TANDEM_DATA": str(stack.data)})
            os.environ["TANDEM_DEMO_SITE_URL"] = stack.addresses["TANDEM_SITE_URL"]
            import django  # noqa: PLC0415  # needs the servers' addresses

            django.setup()
            plain: list[Run] = []
            found: dict[str, list[Run]] = {engine: [] for engine in ENGINES}
            for _ in range(arguments.repeats):
                plain.append(alone(source, folder))
                for engine in ENGINES:
                    found[engine].append(through(stack, source, engine))
            web = max(high_water(pid) for pid in stack.pids("web"))
        size = source.stat().st_size
    print(f"{arguments.rows:,} rows, {size / 1e6:,.0f} MB, best of {arguments.repeats}; web's peak {web:,.0f} MB.")
    return table(plain, found)


def alone(source: Path, folder: Path) -> Run:
    """The same calls in a process of their own."""
    work = folder / uuid.uuid4().hex
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.files_plain", str(source), str(work)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    answer = json.loads(done.stdout)
    return Run(steps=answer["seconds"], seconds=sum(answer["seconds"].values()), megabytes=answer["megabytes"])


def through(stack: Any, source: Path, engine: str) -> Run:
    """Upload it, wait for its report, and read the times that the ledger has."""
    from showcase.demo import observe  # noqa: PLC0415  # needs Django
    from showcase.demo.visitor import Visitor  # noqa: PLC0415  # as above
    from showcase.files.models import Job  # noqa: PLC0415  # as above
    from showcase.uploads.starting import delete  # noqa: PLC0415  # as above

    visitor = Visitor.signed_in()
    for job in Job.objects.filter(upload__owner=visitor.user):
        delete(job)
    pk = uuid.UUID(upload(visitor, source, engine))
    job = Job.objects.get(pk=pk)
    (execution,) = observe.finished([str(job.execution)], timeout=FINISH_SECONDS).values()
    job.refresh_from_db()
    if execution.phase != "succeeded" or job.reported_at is None:
        raise RuntimeError(f"{source.name} on {engine} is {execution.phase}: {observe.result_text(execution)}")
    steps = {
        step.name: (step.finished_at - step.started_at).total_seconds()
        for step in execution.steps.filter(name__in=STEPS, finished_at__isnull=False)
        if step.finished_at
    }
    return Run(
        steps=steps,
        seconds=(job.reported_at - execution.created_at).total_seconds(),
        megabytes=max(high_water(pid) for pid in stack.pids(PROCESSES[engine])),
    )


def upload(visitor: Any, source: Path, engine: str) -> str:
    """Post the page's form, streamed from disk; answers the job's id."""
    boundary = uuid.uuid4().hex
    fields = {"csrfmiddlewaretoken": visitor.token("/files/"), "engine": engine, "token": str(uuid.uuid4())}
    with tempfile.TemporaryFile(dir=source.parent) as form:
        for name, value in fields.items():
            form.write(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
        form.write(f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="orders.csv"\r\n'.encode())
        form.write(b"Content-Type: text/csv\r\n\r\n")
        with source.open("rb") as file:
            while chunk := file.read(1 << 20):
                form.write(chunk)
        form.write(f"\r\n--{boundary}--\r\n".encode())
        size = form.tell()
        form.seek(0)
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": str(size)}
        begun = time.perf_counter()
        url = visitor.post("/files/", form, headers)
        print(f"uploaded in {time.perf_counter() - begun:.1f} s", file=sys.stderr)
    found = re.search(r"/files/([0-9a-f-]{36})/$", url)
    if found is None:
        raise RuntimeError(f"The upload ended at {url}.")
    return found[1]


def high_water(pid: int) -> float:
    """The most memory that a process had resident, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1.024 / 1000
    raise RuntimeError(f"Process {pid} tells no high-water mark.")


def table(plain: list[Run], found: dict[str, list[Run]]) -> int:
    """Print what was measured, and say whether it is as it must be."""
    best = min(plain, key=lambda run: run.seconds)
    print(f"{'':<14}{'validate':>10}{'process':>10}{'report':>10}{'all':>10}{'ratio':>8}{'peak RSS':>11}")
    met = True
    for name, runs in {"plain script": plain, **found}.items():
        run = min(runs, key=lambda run: run.seconds)
        peak = max(run.megabytes for run in runs)
        ratio = run.seconds / best.seconds
        steps = "".join(f"{run.steps[step]:>8.2f} s" for step in STEPS)
        print(f"{name:<14}{steps}{run.seconds:>8.2f} s{ratio:>8.2f}{peak:>8.0f} MB")
        met = met and (name not in found or (ratio <= MOST_TIMES and peak < MOST_MEGABYTES))
    print(f"Aims: under {MOST_MEGABYTES} MB, within {MOST_TIMES}x the plain script: {'met' if met else 'MISSED'}.")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
