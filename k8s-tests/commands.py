"""Starts every command of the platform's image once, in a pod of it: nothing but what the image itself has.

In a database of its own, `images`, and with queues of its own in the release's Redis. Fails where one does not start, or
does not end well.
"""

import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Final

SETTINGS: Final = """
from tandem import addresses

SECRET_KEY = "images"
ALLOWED_HOSTS = ["*"]
DATABASES = {"default": {**addresses.database(), "NAME": "images"}}
INSTALLED_APPS = ["django.contrib.contenttypes", "tandem"]
ROOT_URLCONF = "platform_settings"
urlpatterns = []
TASKS = {
    "default": {
        "BACKEND": "tandem.TandemBackend",
        "OPTIONS": {
            "ENGINES": {"celery": {**addresses.celery(), "KEY_PREFIX": "images:"}, "restate": addresses.restate()},
            "ROUTES": {"default": "celery"},
        },
    }
}
"""
NOBODY: Final = "00000000-0000-7000-8000-000000000000"
# How each answers in an empty ledger.
ONCE: Final = (
    (("require", "database"), 0),
    (("migrate",), 0),
    (("require", "migrations"), 0),
    (("routes", "list"), 0),
    (("list",), 0),
    (("prune",), 0),
    (("show", NOBODY), 1),
    (("cancel", NOBODY), 1),
    (("retry", NOBODY), 1),
    (("signal", NOBODY, "go"), 1),
)
PROCESSES: Final = (
    (("web", "--bind=127.0.0.1:8001"), 8001),
    (("relay", "--health=127.0.0.1:8002"), 8002),
    (("exporter", "--bind=127.0.0.1:8003"), 8003),
    (("service", "--bind=127.0.0.1:9080", "--health=127.0.0.1:8004"), 8004),
    (("worker", "--concurrency=1", "--health=127.0.0.1:8005"), 8005),
)
PATIENCE: Final = 60.0


def manage(*words: str) -> list[str]:
    """The command line of a command."""
    return [sys.executable, "-m", "django", "tandem", *words]


def run(*words: str, codes: tuple[int, ...]) -> None:
    """Run one that ends by itself; one that fails does so in words."""
    answer = subprocess.run(
        manage(*words), check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE
    )
    if answer.returncode not in codes or "Traceback" in answer.stdout or "not installed" in answer.stdout:
        raise SystemExit(f"{words} ended with {answer.returncode}, none of {codes}:\n{answer.stdout}")
    print(f"started {words[0]}", flush=True)


def start(words: tuple[str, ...], port: int) -> None:
    """Run a process until it is ready, have it do its work if that shows, and end it."""
    with subprocess.Popen(manage(*words)) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while not ready(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{words} is not ready: {process.poll()}")
                time.sleep(0.2)
            if words[0] == "worker":
                run("smoke", "--engines=celery", codes=(0,))
                # Relay and service have ended: it says so once their leases ran out.
                run("check", codes=(0, 1))
            process.send_signal(signal.SIGTERM)
            if code := process.wait(timeout=PATIENCE):
                raise SystemExit(f"{words} ended with {code}")
        finally:
            process.kill()
    print(f"started {words[0]}", flush=True)


def ready(port: int) -> bool:
    """Whether a process answers that it can work."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


Path("/tmp/platform_settings.py").write_text(SETTINGS)
for words, code in ONCE:
    run(*words, codes=(code,))
for words, port in PROCESSES:
    start(words, port)
listed = "from tandem.management.commands.tandem import COMMANDS; print('commands', *COMMANDS)"
subprocess.run([sys.executable, "-c", listed], check=True, timeout=PATIENCE)
