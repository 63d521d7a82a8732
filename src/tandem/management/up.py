"""`manage.py tandem up`: the whole stack on this machine, until Ctrl-C."""

import argparse
import os
import queue
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, TextIO

from django.conf import settings

from tandem import addresses
from tandem.configuration import ledger_configuration
from tandem.embedded.exceptions import StackError
from tandem.embedded.ports import OWNERS, Ports, option_of

if TYPE_CHECKING:
    from tandem.embedded.stack import Stack

__all__ = ["add_arguments", "data_folder", "handle", "make_stack"]

ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
POLL_SECONDS: Final = 0.2
SAME_SECONDS: Final = 1.0
DEFAULT_WSGI: Final = "django.core.wsgi:get_wsgi_application()"
MEBIBYTE: Final = 1 << 20
ENGINE_PARTS: Final = {"celery": ("redis", "worker"), "restate": ("restate", "service")}
OWN_PARTS: Final = frozenset({"migrate", "web", "worker", "service", "relay"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--data", type=Path, help="folder for all data (default: TANDEM_DATA, or .tandem/ beside manage.py)"
    )
    parser.add_argument("--only", metavar="PARTS", help="start these parts only, such as postgres,redis,restate")
    for name, part in OWNERS.items():
        default = Ports.__dataclass_fields__[name].default
        where = name.replace("_", " ") if name == part or part in name else f"{name} ({part})"
        text = f"{where} (default: TANDEM_PORT_{name.upper()}, or {default})"
        parser.add_argument(option_of(name), dest=f"port_{name}", metavar="PORT", help=text)


def handle(options: dict[str, Any]) -> None:
    """Start the stack, say where everything is, and run until Ctrl-C or SIGTERM; a second one hurries.

    Raises `StackError` when the stack cannot start; whatever had started is stopped by then.
    """
    stack = make_stack(options, console=sys.stdout)
    # A queue, since a handler runs between any two instructions of this thread, where taking a lock could wait for ever.
    events: queue.SimpleQueue[int | BaseException] = queue.SimpleQueue()

    def note(number: int, _frame: FrameType | None) -> None:
        events.put(number)

    before = {number: signal.signal(number, note) for number in ENDING_SIGNALS}
    starter = threading.Thread(target=_start, args=(stack, events), daemon=True)
    starter.start()
    try:
        event = events.get()
        if isinstance(event, int):
            print(f"{signal.Signals(event).name}: stopping (once more to hurry) ...", file=sys.stderr, flush=True)
        _stop(stack, starter, events)
        if isinstance(event, BaseException):
            raise event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def make_stack(options: dict[str, Any], *, console: TextIO | None) -> "Stack":
    """Build the stack of the command's options; those that are missing have their defaults."""
    try:
        from tandem.embedded import stack as stacks  # noqa: PLC0415 - needs the extra; this module is always imported
    except ImportError as error:
        raise StackError(f"The embedded stack needs {error.name}: pip install 'django-tandem[embedded]'.") from error
    manage = _manage()
    module, _, name = (getattr(settings, "WSGI_APPLICATION", None) or "").rpartition(".")
    return stacks.Stack(
        data=data_folder(options),
        ports=Ports.chosen(options),
        only=_parts(options),
        manage=[sys.executable, str(manage)] if manage else [sys.executable, "-m", "django"],
        directory=manage.parent if manage else Path.cwd(),
        wsgi=f"{module}:{name}" if module else DEFAULT_WSGI,
        console=console,
    )


def data_folder(options: dict[str, Any]) -> Path:
    """Answer the folder of `--data`, else of `TANDEM_DATA`, else `.tandem` beside `manage.py`."""
    named = options.get("data")
    return Path(named) if named else addresses.data_folder()


def _parts(options: dict[str, Any]) -> list[str]:
    """Choose what to start: what `--only` names, else all but what belongs to an engine that the settings leave out."""
    from tandem.embedded.stack import PARTS  # noqa: PLC0415 - as in make_stack

    if options.get("only") is None:
        engines = ledger_configuration().engines
        others = {part for engine, parts in ENGINE_PARTS.items() if engine not in engines for part in parts}
        return [part for part in PARTS if part not in others]
    named = [part.strip() for part in options["only"].split(",") if part.strip()]
    return ["settings", *named] if OWN_PARTS.intersection(named) else named


def _manage() -> Path | None:
    path = Path(sys.argv[0]).resolve()
    return path if path.name == "manage.py" and path.is_file() else None


def _start(stack: "Stack", events: queue.SimpleQueue[int | BaseException]) -> None:
    began = time.monotonic()
    try:
        stack.start()
        stack.wait_ready()
        memory = sum(stack.rss().values()) / MEBIBYTE
        stack.say(f"ready in {time.monotonic() - began:.1f} s, {memory:,.0f} MiB resident; Ctrl-C stops it all")
        for line in _urls(stack):
            stack.say(line)
    except Exception as error:  # noqa: BLE001 - the main thread raises it
        events.put(error)


def _urls(stack: "Stack") -> list[str]:
    found = {"site": f"http://127.0.0.1:{stack.ports.web}/"} if "web" in stack.parts else {}
    names = {
        "inbox": "TANDEM_INBOX_URL",
        "Restate's UI": "TANDEM_RESTATE_UI_URL",
        "Restate's ingress": "TANDEM_RESTATE_INGRESS_URL",
        "PostgreSQL": "DATABASE_URL",
        "Redis": "TANDEM_BROKER_URL",
    }
    known = stack.addresses
    found |= {name: known[variable] for name, variable in names.items() if variable in known}
    lines = [f"{name + ':':<18} {url}" for name, url in found.items()] + [f"{'data:':<18} {stack.data}"]
    if stack.data != addresses.data_folder().resolve():
        lines.append(f"in other terminals: export TANDEM_DATA={stack.data}")
    lines += [
        f"{name} is set in this environment, to another server, which other commands follow: unset it there"
        for name, url in known.items()
        if os.environ.get(name, url) != url
    ]
    return lines


def _stop(stack: "Stack", starter: threading.Thread, events: queue.SimpleQueue[int | BaseException]) -> None:
    def stop() -> None:
        stack.stop()
        # It may still be installing a server, which then is not started.
        starter.join()

    stopper = threading.Thread(target=stop)
    stopper.start()
    began = time.monotonic()
    while stopper.is_alive():
        with suppress(queue.Empty):
            event = events.get(timeout=POLL_SECONDS)
            # One Ctrl-C may arrive twice: from the terminal, and passed on by `uv run` or `timeout`.
            if isinstance(event, int) and time.monotonic() - began > SAME_SECONDS:
                stack.hurry()
