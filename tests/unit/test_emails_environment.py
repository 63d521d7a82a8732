"""The showcase's settings from the environment."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from showcase import environment


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
