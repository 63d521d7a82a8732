"""The circuit breaker."""

import logging
import time
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from tandem.engines.breaker import Breaker
from tandem.engines.celery.client import BrokerClient
from tandem.exceptions import BrokerUnavailable


def test_it_is_closed_until_a_failure() -> None:
    breaker = Breaker(seconds=60.0)
    breaker.check()
    breaker.failed("Redis does not answer at redis://nowhere.")
    with pytest.raises(BrokerUnavailable, match=r"^Redis does not answer at redis://nowhere\. Not tried again for "):
        breaker.check()


def test_a_success_closes_it() -> None:
    breaker = Breaker(seconds=60.0)
    breaker.failed(ConnectionError())
    with pytest.raises(BrokerUnavailable, match="ConnectionError"):
        breaker.check()
    breaker.succeeded()
    breaker.check()


def test_it_lets_callers_try_again_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    breaker = Breaker(seconds=2.0)
    breaker.failed("down")
    now = 101.9
    with pytest.raises(BrokerUnavailable):
        breaker.check()
    now = 102.1
    breaker.check()


def test_a_broker_that_is_away_is_logged_once_and_then_counted(caplog: pytest.LogCaptureFixture) -> None:
    breaker = Breaker(seconds=60.0)
    with caplog.at_level(logging.WARNING, "tandem"):
        for _ in range(2):
            breaker.failed("Redis does not answer at redis://nowhere.")
            for _ in range(4):
                with pytest.raises(BrokerUnavailable):
                    breaker.check()
        (away,) = caplog.messages
        breaker.succeeded()
        breaker.succeeded()
    assert away.startswith("Redis does not answer at redis://nowhere. What is enqueued is kept; the relay sends it")
    (back,) = caplog.messages[1:]
    assert ", in which 10 call(s) failed. It was: Redis does not answer at redis://nowhere." in back


class Full:
    """A connection to a Redis that answers each command that it is full."""

    def can_read(self) -> bool:
        return False

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def pack_commands(self, commands: Any) -> Any:
        return commands

    def send_packed_command(self, _packed: Any) -> None: ...

    def read_response(self) -> None:
        raise redis.ResponseError("OOM command not allowed when used memory > 'maxmemory'.")


def test_a_redis_that_is_full_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """It answers, and is not back."""
    broker: Any = SimpleNamespace(connection=Full, public_url="redis://full")
    link = BrokerClient(broker=broker, breaker=Breaker(seconds=0.0))
    for _ in range(3):
        with pytest.raises(BrokerUnavailable, match="OOM"):
            link.exchange(("LPUSH", "celery", "x"))
    assert len(caplog.messages) == 1, caplog.messages
