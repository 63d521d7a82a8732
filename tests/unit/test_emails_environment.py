"""The showcase's settings from the environment."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from showcase import environment

DEFAULT = "postgresql://tandem@127.0.0.1:5433/tandem"


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
def test_a_database_url(url: str, expected: dict[str, object]) -> None:
    database = environment.database({"DATABASE_URL": url}, DEFAULT)
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
def test_a_wrong_database_url_shows_the_right_form(url: str, words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words) as refused:
        environment.database({"DATABASE_URL": url}, DEFAULT)
    assert "postgresql://user:password@host:5432/name" in str(refused.value)


def test_the_development_key_is_for_this_machine_only() -> None:
    assert environment.secret_key({}) == environment.secret_key({"ALLOWED_HOSTS": "localhost, 127.0.0.1"})
    assert environment.secret_key({"ALLOWED_HOSTS": "tandem.example", "SECRET_KEY": "a key"}) == "a key"
    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY"):
        environment.secret_key({"ALLOWED_HOSTS": "tandem.example"})


def test_switches_and_numbers() -> None:
    assert environment.boolean({"DEBUG": "Yes"}, "DEBUG")
    assert not environment.boolean({"DEBUG": "off"}, "DEBUG")
    assert not environment.boolean({}, "DEBUG")
    with pytest.raises(ImproperlyConfigured, match="DEBUG='maybe'"):
        environment.boolean({"DEBUG": "maybe"}, "DEBUG")
    assert environment.number({"EMAIL_PORT": "25"}, "EMAIL_PORT", 1025) == 25
    assert environment.number({"EMAIL_PORT": ""}, "EMAIL_PORT", 1025) == 1025
    for text in ("0", "-1", "smtp"):
        with pytest.raises(ImproperlyConfigured, match="EMAIL_PORT"):
            environment.number({"EMAIL_PORT": text}, "EMAIL_PORT", 1025)


def test_lists() -> None:
    assert environment.words({"HOSTS": " a, ,b "}, "HOSTS", ["c"]) == ["a", "b"]
    assert environment.words({}, "HOSTS", ["c"]) == ["c"]
