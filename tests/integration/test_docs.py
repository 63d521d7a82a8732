"""Every command that the documentation shows is run, with this project's names in the place of the shop's."""

import re
import shlex
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from tandem.configuration import Configuration
from tandem.ledger.models import Override
from tandem.management.commands.tandem import COMMANDS, Command
from tests.work import tasks

ROOT = Path(__file__).resolve().parents[2]
SHOWN = [
    (page.name, line.removeprefix("$ manage.py tandem "))
    for page in sorted((ROOT / "docs").glob("*.md"))
    for line in page.read_text().splitlines()
    if line.startswith("$ manage.py tandem ")
]


def test_the_documentation_shows_commands() -> None:
    assert len(SHOWN) > 8


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize(("page", "line"), SHOWN)
def test_a_shown_command_works(page: str, line: str) -> None:
    result = tasks.noop.using(engine="celery", run_after=timezone.now() + timedelta(hours=1)).enqueue()
    if line.startswith("retry ID"):
        result.cancel()
    words = [
        {"ID": result.id, "shop.tasks.send_invoice": "tests.work.tasks.noop"}.get(word, word)
        for word in shlex.split(line)
    ]
    if words[:2] == ["routes", "unset"]:
        call_command("tandem", "routes", "set", words[2], "restate")
    if words[:2] == ["routes", "kill"] and "--off" in words:
        call_command("tandem", "routes", "kill", words[2])
    try:
        call_command("tandem", *words)
    finally:
        Override.objects.all().delete()
        tasks.noop.get_backend().router.rules(fresh=True)


def test_the_settings_that_are_shown_take_what_the_chart_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "your-project.md").read_text()
    (shown,) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    given = {
        "SECRET_KEY": "secret",
        "ALLOWED_HOSTS": "shop.example.com,shop-web",
        "TANDEM_BROKER_URL": "redis://redis:6379/0",
        "TANDEM_RESTATE_INGRESS_URL": "http://restate:8080",
        "TANDEM_RESTATE_IDENTITY_KEYS": "publickeyv1_x",
        "TANDEM_RESTATE_PREFIX": "shop",
    }
    for name, value in given.items():
        assert f"`{name}`" in text, f"the page does not say what {name} is"
        monkeypatch.setenv(name, value)
    # A package of the reader's, of which nothing here depends.
    monkeypatch.setitem(sys.modules, "dj_database_url", SimpleNamespace(config=dict))
    settings: dict[str, Any] = {}
    exec(shown, settings)
    read = Configuration.read("default", settings["TASKS"]["default"])
    assert read.celery is not None
    assert read.restate is not None
    assert read.celery.broker_url == given["TANDEM_BROKER_URL"]
    assert read.restate.ingress_url == given["TANDEM_RESTATE_INGRESS_URL"]
    assert read.restate.prefix == given["TANDEM_RESTATE_PREFIX"]
    assert list(read.restate.identity_keys) == [given["TANDEM_RESTATE_IDENTITY_KEYS"]]


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/choosing.md",
        "docs/limits.md",
        "docs/operating.md",
        "docs/production.md",
        "docs/troubleshooting.md",
        "docs/writing-tasks.md",
    ],
)
def test_every_command_named_in_a_page_exists_with_its_options(page: str) -> None:
    parser = Command().create_parser("manage.py", "tandem")
    named = re.findall(r"`manage\.py tandem (\w+)((?: --[\w-]+)*)", (ROOT / page).read_text())
    assert named
    for name, options in named:
        assert name in COMMANDS
        help_text = _help(parser, name)
        for option in options.split():
            assert option in help_text, f"{page}: tandem {name} has no {option}"


def _help(parser: object, name: str) -> str:
    subparsers = next(action for action in parser._actions if action.dest == "command")  # type: ignore[attr-defined]
    text: str = subparsers.choices[name].format_help()
    return text


@pytest.mark.parametrize("target", ["demo", "test", "bench", "growth", "clean-data"])
def test_make_has_the_targets_that_the_readme_names(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
