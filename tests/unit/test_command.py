"""What `manage.py tandem` says where it cannot work."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from tandem.management import smoke


@pytest.mark.parametrize("error", [OperationalError("connection refused")])
def test_a_database_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def down(_: dict[str, Any]) -> None:
        raise error

    monkeypatch.setattr(smoke, "handle", down)
    with pytest.raises(CommandError, match="PostgreSQL cannot be used: connection refused"):
        call_command("tandem", "smoke")
