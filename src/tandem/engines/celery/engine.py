"""The Celery engine: puts references on the broker's lists, and finds those that got lost."""

import secrets
import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from tandem.configuration import Configuration
from tandem.engines.base import CAPABILITIES, Engine, Reference
from tandem.engines.breaker import Breaker
from tandem.engines.celery.app import app_of, broker_of, lists_of, options_of
from tandem.engines.celery.check import live_problems, problems
from tandem.engines.celery.client import BrokerClient
from tandem.engines.celery.lists import Lists, step_of
from tandem.engines.celery.lost import EPOCH_KEY, LostMessageScan, epoch_of
from tandem.engines.celery.message import Messages
from tandem.exceptions import ConfigurationError

__all__ = ["CeleryEngine"]


class CeleryEngine(Engine):
    """Sends by LPUSH, one round trip for a batch, and learns the broker's epoch in the same one.

    The epoch is read before the push takes effect: a reference written with it is lost only with it.
    """

    name = "celery"
    supports = CAPABILITIES - {"external"}
    process = ("worker", "manage.py tandem worker")

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.options = options_of(configuration)
        self._epoch: str | None = None
        self._unmarked = False
        self._messages = Messages(self._app, grace=self.options.grace_seconds)
        self._scanning = threading.Lock()
        if not self.options.app:
            # What is wrong with the URL is said at start, not by the first send. A project's app waits for the first
            # use: to import it here could be to import what imports this.
            self.client  # noqa: B018  # it is read once

    @cached_property
    def lists(self) -> Lists:
        """How the broker's lists are named."""
        return lists_of(self.options, self.configuration.queues)

    @cached_property
    def client(self) -> BrokerClient:
        """The connection to the broker."""
        return BrokerClient(
            broker=broker_of(self.options, self.configuration.queues),
            breaker=Breaker(seconds=self.options.breaker_seconds),
        )

    @cached_property
    def _scan(self) -> LostMessageScan:
        return LostMessageScan(client=self.client, lists=self.lists, queues=self.configuration.queues)

    @cached_property
    def _epoch_key(self) -> str:
        return self.lists.prefix + EPOCH_KEY

    def _app(self) -> Any:
        return app_of(self.options, self.configuration.queues)

    def epoch(self) -> str | None:
        """The broker's epoch as this process last saw it; None before its first send or scan.

        Raises `ConfigurationError` where the app's settings name no broker to send to: asked before a row is written.
        """
        self.client  # noqa: B018  # it is read once
        return self._epoch

    def submit(self, batch: Sequence[Reference]) -> str | None:
        """Put a batch on its lists and answer the broker's epoch.

        Raises `BrokerUnavailable` within `connect_timeout` + `socket_timeout`, or at once while the breaker is open;
        some of the batch may then have arrived, and may be sent again.
        """
        messages: dict[tuple[str, int], list[str]] = {}
        for reference in batch:
            place = (reference.queue, step_of(reference.priority))
            messages.setdefault(place, []).append(self._messages.message(reference))
        mark = (("SET", self._epoch_key, secrets.token_hex(8), "NX"), ("GET", self._epoch_key))
        if self._unmarked:
            # The last push arrived without an epoch, and would be sent again for ever.
            epoch_of(self.client, *self.client.exchange_leniently(*mark))
            self._unmarked = False
        written, epoch, *pushed = self.client.exchange_leniently(
            *mark, *[("LPUSH", self.lists.key(*place), *texts) for place, texts in messages.items()]
        )
        for reply in pushed:
            if isinstance(reply, Exception):
                self.client.refuse(reply)
        self._unmarked = not isinstance(epoch, bytes)
        self._epoch = epoch_of(self.client, written, epoch)
        return self._epoch

    def cancel(self, batch: Sequence[Reference]) -> None:
        """Nothing to revoke: the claim refuses what is cancelled, and the heartbeat says so to what runs.

        Celery's workers would keep revoked ids in memory, and swallow a later retry of the same execution.
        """

    def find_lost(self, *, lease: float) -> int:
        """Mark due what was lost on the way and answer how many; raises `BrokerUnavailable`.

        Costs one round trip to the broker, and a few statements of bounded size.
        """
        with self._scanning:
            self._epoch, marked = self._scan.run(lease)
        return marked

    def problems(self) -> list[str]:
        """Say what is wrong with the configuration: an app that is none, a queue's name that kombu would misread."""
        try:
            self.client  # noqa: B018  # it is read once
            return problems(self.configuration, self.lists)
        except ConfigurationError as error:
            return [str(error)]

    def check(self) -> list[str]:
        """Ask the broker and the ledger: unreachable, too old, evicting keys, a queue that nobody consumes."""
        return live_problems(self.configuration, self.client)

    def close(self) -> None:
        """Close this thread's connection; the next call opens another."""
        self.client.close()
