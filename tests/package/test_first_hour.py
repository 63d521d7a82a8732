"""What a newcomer does: installs the wheel into an empty environment, starts a project, and does what README says."""

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psycopg
import pytest

from tandem.embedded.ports import HOST, OWNERS, Ports, option_of
from tandem.probes.health import READY_FILE
from tests.integration.waiting import until

ROOT = Path(__file__).resolve().parents[2]
# Those of the test's own process would be coverage's, and the servers of the other tests.
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("TANDEM_", "COV_", "COVERAGE_", "DJANGO_", "PYTHON", "EMAIL_")) and name != "DATABASE_URL"
}
PATIENCE = 120.0
DATABASE = "{'ENGINE': 'django.db.backends.postgresql', 'NAME': 'x', 'HOST': 'localhost', 'PORT': 'NUMBER'}"
ENQUEUE = "from shop.tasks import add; add.enqueue(1, 2)"
WAIT = """
import time
from shop.tasks import add
result = add.using(engine="ENGINE").enqueue(1, 2)
for _ in range(600):
    result.refresh()
    if result.is_finished:
        break
    time.sleep(0.1)
print(result.engine, result.status, result.return_value)
"""
TASKS = """
from django.tasks import task

@task
def add(left, right):
    return left + right
"""


def run(*command: object, folder: Path = ROOT, environment: Mapping[str, str] = CLEAN, status: int = 0) -> str:
    """Run a command to its end, which must be `status`; answers all that it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=dict(environment),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == status, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def uv() -> str:
    return run("sh", ".ci/uv").splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(uv, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture
def python(request: pytest.FixtureRequest, uv: str, wheel: Path, tmp_path: Path) -> Path:
    """The Python of an environment that has the wheel with the extras of the test's parameter, and nothing else."""
    run(uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "environment")
    python = tmp_path / "environment" / "bin" / "python"
    run(uv, "pip", "install", "--quiet", "--python", python, f"django-tandem[{request.param}] @ file://{wheel}")
    return python


def shown_settings() -> str:
    """README's settings, which stand at the end of a project's own."""
    text = (ROOT / "README.md").read_text()
    (shown,) = re.findall(r"^```python\n(from tandem import addresses\n.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return str(shown)


def start_project(python: Path, folder: Path, *, settings: str) -> Path:
    folder.mkdir()
    run(python, "-m", "django", "startproject", "site_of_shop", ".", folder=folder)
    run(python, "manage.py", "startapp", "shop", folder=folder)
    (folder / "shop" / "tasks.py").write_text(TASKS)
    path = folder / "site_of_shop" / "settings.py"
    path.write_text(f"{path.read_text()}\n{settings}\nINSTALLED_APPS += ['shop']\n")
    return folder


@contextmanager
def started(
    python: Path, *words: object, folder: Path, environment: Mapping[str, str], ready: Callable[[], bool] | None = None
) -> Iterator[str]:
    """A command of the project at its work, and what it has printed by then; it must end well when it is told to."""
    mark, log = folder / "ready", folder / "log"
    mark.unlink(missing_ok=True)
    with log.open("w") as file:
        running = subprocess.Popen(
            [str(python), "-u", "manage.py", "tandem", *map(str, words)],
            cwd=folder,
            env={**environment, READY_FILE: str(mark)},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: (ready or mark.exists)() or running.poll() is not None, f"{words} is ready", patience=PATIENCE)
        assert running.poll() is None, log.read_text()
        yield log.read_text()
    finally:
        running.terminate()
        running.wait(PATIENCE)
    assert running.returncode == 0, log.read_text()


def answers(port: int) -> bool:
    try:
        with urlopen(f"http://{HOST}:{port}/-/alive", timeout=5) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False


@pytest.fixture
def own(addresses: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The servers of the other tests with a database of this test's own, and a part of the broker that they leave."""
    name = f"first_hour_{uuid.uuid4().hex}"
    url = addresses["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield {
            **CLEAN,
            **addresses,
            "DATABASE_URL": f"{url.rpartition('/')[0]}/{name}",
            "TANDEM_BROKER_URL": f"{addresses['TANDEM_BROKER_URL'].rpartition('/')[0]}/7",
        }
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize(
    ("python", "engine", "lacking"),
    [
        ("celery", "celery", {"service": "restate", "web": "web", "up": "embedded"}),
        ("restate,web", "restate", {"worker": "celery", "up": "embedded"}),
    ],
    indirect=["python"],
)
def test_each_extra_has_all_that_its_processes_need(
    python: Path, engine: str, lacking: dict[str, str], own: dict[str, str], tmp_path: Path
) -> None:
    settings = shown_settings()
    (both,) = re.findall(r'"ENGINES": (\{.*\}),', settings)
    alone = settings.replace(both, f"{{'{engine}': addresses.{engine}()}}")
    alone = alone.replace('"default": "celery"', f'"default": "{engine}"')
    folder = start_project(python, tmp_path / "project", settings=alone)
    run(python, "manage.py", "migrate", folder=folder, environment=own)
    ports = Ports.free()
    processes: dict[str, list[object]] = {
        "celery": ["worker", "--concurrency", 1],
        "restate": ["service", "--bind", f"{HOST}:{ports.service}"],
    }
    with started(python, *processes[engine], folder=folder, environment=own):
        pass
    with started(python, "relay", folder=folder, environment=own):
        pass
    if "web" not in lacking:
        web = ["web", "--bind", f"{HOST}:{ports.web}"]
        with started(python, *web, folder=folder, environment=own, ready=lambda: answers(ports.web)):
            pass
    for command, extra in lacking.items():
        assert f"django-tandem[{extra}]" in run(
            python, "manage.py", "tandem", command, folder=folder, environment=own, status=1
        )
    if engine == "celery":
        # To send to Restate, and to ask it, takes nothing but Tandem: only its service needs more.
        return
    # Both engines in the settings and one installed: no traceback, but what to install, wherever it is met.
    (folder / "both.py").write_text(
        f"from site_of_shop.settings import *\nTASKS['default']['OPTIONS']['ENGINES'] = {both}"
    )
    for words in (["check"], ["tandem", "check"], ["tandem", "relay"], ["shell", "-c", ENQUEUE]):
        environment = {**own, "DJANGO_SETTINGS_MODULE": "both"}
        said = run(python, "manage.py", *words, folder=folder, environment=environment, status=1)
        assert "pip install 'django-tandem[" in said
        assert words[0] == "shell" or "Traceback" not in said


@pytest.mark.parametrize("python", ["celery,restate,embedded"], indirect=True)
def test_up_works_in_a_new_project_and_other_terminals_reach_its_servers(python: Path, tmp_path: Path) -> None:
    folder = start_project(python, tmp_path / "project", settings=shown_settings())
    said = run(python, "manage.py", "check", folder=folder)
    assert "no issues" in said
    ports = Ports.free()
    options = [part for name in OWNERS for part in (option_of(name), getattr(ports, name))]
    log = folder / "log"
    with started(
        python, "up", *options, folder=folder, environment=CLEAN, ready=lambda: "data:" in log.read_text()
    ) as shown:
        assert f"http://{HOST}:{ports.web}/" in shown
        # Another terminal: nothing in its environment says where anything is.
        for engine in ("celery", "restate"):
            said = run(python, "manage.py", "shell", "-v", 0, "-c", WAIT.replace("ENGINE", engine), folder=folder)
            assert f"{engine} SUCCESSFUL 3" in said
        listed = run(python, "manage.py", "tandem", "list", "--phase", "succeeded", folder=folder)
        assert listed.count("shop.tasks.add") == 2
        assert "All is well" in run(python, "manage.py", "tandem", "check", folder=folder)


@pytest.mark.parametrize("python", ["celery,restate,embedded"], indirect=True)
def test_the_example_does_what_its_readme_says(python: Path, tmp_path: Path) -> None:
    folder = tmp_path / "orders"
    shutil.copytree(ROOT / "examples" / "orders", folder)
    text = (folder / "README.md").read_text()
    posted, paid, shown = re.findall(r"curl .*?http://127\.0\.0\.1:8000(\S+)", text)
    (moves,) = re.findall(r"python manage\.py (tandem routes set [^`]+)`", text)
    ports = Ports.free()
    options = [part for name in OWNERS for part in (option_of(name), getattr(ports, name))]
    log = folder / "log"

    def ask(method: str, path: str, id_: str = "") -> Any:
        request = Request(f"http://{HOST}:{ports.web}{path.replace('ID', id_)}", method=method)
        with urlopen(request, timeout=30) as answer:
            return json.load(answer)

    with started(python, "up", *options, folder=folder, environment=CLEAN, ready=lambda: "data:" in log.read_text()):
        id_ = ask("POST", posted)["id"]
        until(lambda: ask("GET", shown, id_)["phase"] == "waiting", "it does not wait")
        assert ask("POST", posted)["id"] == id_
        ask("POST", paid, id_)
        until(lambda: ask("GET", shown, id_)["phase"] == "succeeded", "it is not fulfilled")
        done = "receipt of order 7: parcel 7 from shelf 7"
        assert ask("GET", shown, id_) == {"phase": "succeeded", "engine": "celery", "done": done}
        assert "celery" in run(python, "manage.py", "tandem", "show", id_, folder=folder)
        run(python, "manage.py", *moves.split(), folder=folder)
        # Each process reads the rules again within a second; each number is another order.
        numbers = count(8)
        placed = partial(ask, "POST")
        until(lambda: ask("GET", shown, placed(f"/orders/{next(numbers)}/")["id"])["engine"] == "restate", "no move")


def test_up_starts_nothing_of_a_project_whose_settings_name_other_servers(tmp_path: Path) -> None:
    # As somebody's own PostgreSQL and broker, which must not be touched.
    ports, elsewhere = Ports.free(), Ports.free()
    settings = shown_settings().replace("addresses.database()", DATABASE.replace("NUMBER", str(elsewhere.postgres)))
    settings = settings.replace("addresses.celery()", f"{{'BROKER_URL': 'redis://localhost:{elsewhere.redis}/0'}}")
    folder = start_project(Path(sys.executable), tmp_path / "project", settings=settings)
    options = [part for name in OWNERS for part in (option_of(name), getattr(ports, name))]
    said = run(sys.executable, "manage.py", "tandem", "up", *options, folder=folder, status=1)
    assert f"DATABASES['default'] names postgresql://127.0.0.1:{elsewhere.postgres}, but DATABASE_URL is at" in said
    broker = "TASKS['default']['OPTIONS']['ENGINES']['celery']['BROKER_URL']"
    assert f"{broker} names redis://127.0.0.1:{elsewhere.redis}, but TANDEM_BROKER_URL is at" in said
    assert "have it say addresses.celery(), with `from tandem import addresses`" in said
    assert not {"migrate", "worker", "relay", "web"} & {
        path.stem for path in (folder / ".tandem" / "logs").iterdir() if path.read_text()
    }
