"""Where a project's settings find the servers: the environment, the stack that runs, the defaults of `up`."""

import fcntl
from pathlib import Path

import pytest

from tandem import ConfigurationError, addresses

KEY = "publickeyv1_key"


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of this test's own, and no address in the environment."""
    monkeypatch.setenv("TANDEM_DATA", str(tmp_path))
    for name in addresses.DEFAULTS:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_the_stack_that_runs_is_found_and_what_it_left_behind_is_not(alone: Path) -> None:
    defaults = (addresses.database(), addresses.celery(), addresses.restate())
    assert addresses.celery() == {"BROKER_URL": "redis://127.0.0.1:6390/0"}
    (alone / addresses.FILE).write_text(
        "DATABASE_URL=postgresql://tandem@127.0.0.1:7001/tandem\nTANDEM_BROKER_URL=redis://127.0.0.1:7002/0\n"
        "TANDEM_RESTATE_INGRESS_URL=http://127.0.0.1:7003\nTANDEM_RESTATE_ADMIN_URL=http://127.0.0.1:7004\n"
        f"TANDEM_RESTATE_SERVICE_URL=http://127.0.0.1:7005\nTANDEM_RESTATE_IDENTITY_KEYS={KEY}\n"
    )
    with (alone / "lock").open("w") as lock:
        assert (addresses.database(), addresses.celery(), addresses.restate()) == defaults
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert (addresses.database()["HOST"], addresses.database()["PORT"]) == ("127.0.0.1", "7001")
        assert addresses.celery() == {"BROKER_URL": "redis://127.0.0.1:7002/0"}
        assert addresses.restate() == {
            "INGRESS_URL": "http://127.0.0.1:7003",
            "ADMIN_URL": "http://127.0.0.1:7004",
            "SERVICE_URL": "http://127.0.0.1:7005",
            "PREFIX": "",
            "IDENTITY_KEYS": [KEY],
        }
    assert (addresses.database(), addresses.celery(), addresses.restate()) == defaults


def test_the_environment_comes_first_and_gives_all_of_a_server(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_RESTATE_INGRESS_URL", "http://restate:8080")
    monkeypatch.setenv("TANDEM_BROKER_URL", "redis://redis:6379/0")
    assert addresses.celery() == {"BROKER_URL": "redis://redis:6379/0"}
    monkeypatch.setenv("TANDEM_RESTATE_PREFIX", "shop")
    assert addresses.restate()["PREFIX"] == "shop"
    # Web has no admin URL, and must not be given this machine's.
    assert (addresses.restate()["INGRESS_URL"], addresses.restate()["ADMIN_URL"]) == ("http://restate:8080", "")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", {"USER": "tandem", "PASSWORD": "", "HOST": "127.0.0.1", "PORT": "5433", "NAME": "tandem", "OPTIONS": {}}),
        (
            "postgresql://a%40b:p%2Fw@db.example:6000/the%20name?sslmode=require",
            {
                "USER": "a@b",
                "PASSWORD": "p/w",
                "HOST": "db.example",
                "PORT": "6000",
                "NAME": "the name",
                "OPTIONS": {"sslmode": "require"},
            },
        ),
        ("postgres:///tandem?host=/run/sockets", {"HOST": "/run/sockets", "PORT": "", "NAME": "tandem", "OPTIONS": {}}),
        ("postgresql://tandem@[::1]:5433/tandem", {"HOST": "::1", "PORT": "5433"}),
    ],
)
def test_a_database_url(alone: Path, monkeypatch: pytest.MonkeyPatch, url: str, expected: dict[str, object]) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    database = addresses.database()
    assert {key: database[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://localhost/tandem", "starts with 'mysql'"),
        ("tandem", "starts with ''"),
        ("postgresql://localhost", "names no database"),
        ("postgresql://localhost/a/b", "names no database"),
        ("postgresql://localhost:port/tandem", "not a URL"),
    ],
)
def test_a_wrong_database_url_shows_the_right_form(monkeypatch: pytest.MonkeyPatch, url: str, words: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(ConfigurationError, match=words) as refused:
        addresses.database()
    assert "postgresql://user:password@host:5432/name" in str(refused.value)
