"""`manage.py demo`: the whole stack, a scenario on it, one table."""

import os
import signal
import subprocess
import sys
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn

import psutil
from django.core.management.base import BaseCommand, CommandError, CommandParser

from tandem.exceptions import TandemError
from tandem.management import up

if TYPE_CHECKING:
    from tandem.embedded.stack import Stack

__all__ = ["Command"]

STARTED_AT: Final = "TANDEM_DEMO_STARTED_AT"
ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CHILD_SECONDS: Final = 10
MEGABYTE: Final = 1_000_000
MOST_MEGABYTES: Final = 1200


class Command(BaseCommand):
    """Brings the stack up, runs the scenario in a process of its own, and stays up unless told otherwise.

    The time printed counts from `TANDEM_DEMO_STARTED_AT` (seconds since 1970), where a caller that had work to do
    before sets it, else from this process's start.
    """

    help = "Start everything on this machine, send emails on both engines, and check every line of the table."
    # It starts the database itself.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what `manage.py tandem up` takes: the folder and the ports."""
        up.add_arguments(parser)
        parser.add_argument(
            "--once", action="store_true", help="stop after the table; exit with 0 only if every line is right"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Exit with 1 where a line is wrong; raises `CommandError` where the stack does not start."""
        if options["only"] is not None:
            raise CommandError("The demonstration needs every part: leave --only out.")
        for number in ENDING_SIGNALS:
            signal.signal(number, _interrupt)
        try:
            stack = up.make_stack(options, console=None)
            right = self._run(stack, once=options["once"])
        except TandemError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self.stderr.write("Stopped.")
            sys.exit(130)
        if not right:
            sys.exit(1)

    def _run(self, stack: "Stack", *, once: bool) -> bool:
        self._say(f"Starting everything; its logs go to {stack.data / 'logs'}. Ctrl-C stops it all.")
        try:
            stack.start()
            stack.wait_ready()
            self._say(f"Everything is ready after {time.time() - _started_at():.1f} s.")
            right = self._memory(stack)
            self._say("Emails, files and an analysis on both engines; a percentage moved; a worker of each killed ...")
            right = _scenario(stack) == 0 and right
            self._say(
                f"The stack now has {_resident(stack):,.0f} MB resident, {_shared_once():,.0f} MB with shared memory counted once."
            )
            self._say("\nEvery line is right." if right else "\nNot every line is right.")
            if not once:
                for name, url in _urls(stack).items():
                    self._say(f"{name + ':':<14} {url}")
                self._say("It stays up; Ctrl-C stops it all.")
                _wait_for_interrupt()
        finally:
            _stop(stack)
        return right

    def _memory(self, stack: "Stack") -> bool:
        """Print what the idle stack takes; a plain sum counts memory that its processes share in each of them."""
        megabytes = _resident(stack)
        right = megabytes < MOST_MEGABYTES
        words = "" if right else f" WRONG: the most is {MOST_MEGABYTES:,} MB."
        self._say(
            f"The idle stack has {megabytes:,.0f} MB resident, {_shared_once():,.0f} MB with shared memory counted once.{words}"
        )
        return right

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def _started_at() -> float:
    return float(os.environ.get(STARTED_AT) or psutil.Process().create_time())


def _resident(stack: "Stack") -> float:
    return sum(stack.rss().values()) / MEGABYTE


def _shared_once() -> float:
    """This process and its children: their proportional set size; 0 where the system does not tell."""
    total = 0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            total += getattr(process.memory_full_info(), "pss", 0)
        except psutil.NoSuchProcess:
            continue
    return total / MEGABYTE


def _scenario(stack: "Stack") -> int:
    """Run the scenario with the stack's addresses, and return its exit status."""
    environment = {
        **os.environ,
        **stack.addresses,
        "TANDEM_DATA": str(stack.data),
        STARTED_AT: str(_started_at()),
        "TANDEM_DEMO_SITE_URL": _urls(stack)["site"],
    }
    command = [sys.executable, "-m", "showcase.demo"]
    with subprocess.Popen(command, env=environment) as process:  # noqa: S603 - our own module
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait(CHILD_SECONDS)
            raise


def _urls(stack: "Stack") -> dict[str, str]:
    return {
        "site": f"http://127.0.0.1:{stack.ports.web}/",
        "inbox": stack.addresses["TANDEM_INBOX_URL"],
        "Restate's UI": stack.addresses["TANDEM_RESTATE_UI_URL"],
    }


def _stop(stack: "Stack") -> None:
    """Stop everything; a second Ctrl-C does it without grace."""
    try:
        stack.stop()
    except KeyboardInterrupt:
        stack.hurry()
        stack.stop()


def _wait_for_interrupt() -> None:
    threading.Event().wait()


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
