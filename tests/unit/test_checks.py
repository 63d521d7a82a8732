"""What is wrong with the settings is said by Django's checks, at a process's start and at enqueue, with the way out."""

import sys
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tandem import ConfigurationError, TandemBackend
from tandem.management.arguments import refuse_unsound
from tandem.management.commands.tandem import Command
from tandem.probes.health import listen
from tests.work import tasks


def backend(**options: Any) -> TandemBackend:
    # An alias of its own: a process keeps the engines of each.
    return TandemBackend("other", {"OPTIONS": {"ENGINES": {"celery": {}}, **options}})


@pytest.mark.django_db
def test_sqlite_beside_a_running_engine_is_named() -> None:
    (message,) = [message for message in backend().check() if "PostgreSQL" in message.msg]
    assert "DATABASES['default'] is sqlite" in message.msg
    assert message.hint
    # It stops no command of Django's: SQLite can be migrated, and was for this test.
    assert not message.is_serious()
    with pytest.raises(CommandError, match=r"DATABASES\['default'\] is sqlite"):
        refuse_unsound(backend())
    with pytest.raises(ConfigurationError, match=r"is sqlite\. Name a PostgreSQL there"):
        backend().enqueue(tasks.noop, [], {})
    with pytest.raises(ConfigurationError, match=r"is sqlite\. Name a PostgreSQL there"):
        backend().enqueue_many(tasks.noop, [((), {})])


@pytest.mark.parametrize("engine", ["stub", "immediate"])
def test_sqlite_serves_the_engines_for_unit_tests(engine: str) -> None:
    assert [message for message in backend(ENGINES={engine: {}}).check() if "PostgreSQL" in message.msg] == []


def test_an_engine_without_its_extra_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tandem.engines.restate.engine", None)
    unsound = backend(ENGINES={"restate": {}})
    (message,) = unsound.check()
    assert "TASKS['other']['OPTIONS']['ENGINES'] has 'restate'" in message.msg
    assert "pip install 'django-tandem[restate]'" in message.msg
    with pytest.raises(ConfigurationError, match="pip install"):
        unsound.enqueue(tasks.noop, [], {})


@pytest.mark.parametrize(
    ("routes", "words"),
    [
        ("celery", "['ROUTES'] is 'celery', but must be a dictionary"),
        (
            {"default": "restate"},
            "['ROUTES']['default']: engine 'restate' is not configured. Configured engines: celery.",
        ),
        ({"tasks": {"a.b": {"engine": "celery", "percent": 101}}}, "['ROUTES']['tasks']['a.b']: percent is '101'"),
    ],
)
def test_wrong_routes_stop_a_process_before_it_starts(routes: Any, words: str) -> None:
    with pytest.raises(CommandError) as refused:
        refuse_unsound(backend(ROUTES=routes))
    assert f"TASKS['other']['OPTIONS']{words}" in str(refused.value)


def test_settings_that_name_other_servers_than_the_stacks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    call_command("tandem", "require", "addresses")
    monkeypatch.setenv("DATABASE_URL", "postgresql://somebody:secret@127.0.0.1:1/name")
    with pytest.raises(CommandError) as refused:
        call_command("tandem", "require", "addresses")
    assert str(refused.value) == (
        "DATABASES['default'] names sqlite, but DATABASE_URL is at postgresql://127.0.0.1:1: have it say"
        " addresses.database(), with `from tandem import addresses` in the settings."
    )


def test_a_server_that_is_not_restate_is_named_with_its_setting() -> None:
    with listen("127.0.0.1:0", {}, option="--bind") as elsewhere:
        url = f"http://127.0.0.1:{elsewhere.server_address[1]}"
        unsound = backend(ENGINES={"restate": {"INGRESS_URL": url, "ADMIN_URL": url}})
        engine = unsound.engines["restate"]
        ingress, admin = engine.check()
        engine.close()
    assert "correct ENGINES['restate']['INGRESS_URL']" in ingress
    assert "correct ENGINES['restate']['ADMIN_URL']" in admin


def test_djangos_own_options_may_stand_before_or_after_the_command() -> None:
    parser = Command().create_parser("manage.py", "tandem")
    before = parser.parse_args(["--settings", "shop.settings", "--no-color", "-v", "2", "list", "--phase", "failed"])
    after = parser.parse_args(["list", "--settings", "shop.settings", "--phase", "failed", "--no-color", "-v", "2"])
    assert vars(before) == vars(after)
    assert (after.settings, after.verbosity, after.no_color, after.traceback) == ("shop.settings", 2, True, False)
