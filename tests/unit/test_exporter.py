"""What the exporter answers while its source does not."""

import json
from collections.abc import Mapping

import pytest

from tandem.exceptions import BrokerUnavailable
from tandem.exporter import KEPT_SECONDS, Reading
from tandem.ledger.operating.load import Load


class Source:
    """A source and a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.fails = False
        self.loads: Mapping[str, Load] = {"a": Load(queued=2, running=1), "b": Load(queued=4)}
        self.reading = Reading(name="celery", read=self.read, interval=2.0, clock=lambda: self.now)

    def read(self) -> Mapping[str, Load]:
        if self.fails:
            raise BrokerUnavailable("the ledger is down")
        return self.loads


def test_nothing_was_read_yet() -> None:
    source = Source()
    assert source.reading.of(["a"]).status == 503
    assert not source.reading.answered


def test_the_load_of_several_keys_is_added() -> None:
    source = Source()
    source.reading.once()
    answer = source.reading.of(["a", "b", "unknown"])
    assert json.loads(answer.body) == {"work": 7, "queued": 6, "running": 1, "age": 0.0}
    assert (answer.status, answer.kind) == (200, "application/json")


def test_an_outage_is_the_last_answer_with_its_age_and_then_an_error() -> None:
    source = Source()
    source.reading.once()
    source.fails = True
    for seconds in (10.0, KEPT_SECONDS - 10):
        source.now += seconds
        with pytest.raises(BrokerUnavailable):
            source.reading.once()
    assert json.loads(source.reading.of(["b"]).body) == {"work": 4, "queued": 4, "running": 0, "age": KEPT_SECONDS}
    source.now += 1
    answer = source.reading.of(["b"])
    assert (answer.status, "301 s ago" in answer.body) == (503, True)
    source.fails = False
    source.reading.once()
    assert json.loads(source.reading.of(["b"]).body)["age"] == 0.0
