"""The link to the broker: a few commands in one round trip, within a bounded time, with errors in plain words."""

import os
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

import redis
from redis.connection import AbstractConnection
from redis.sentinel import MasterNotFoundError

from tandem.engines.breaker import Breaker
from tandem.engines.celery.broker import Broker
from tandem.exceptions import BrokerUnavailable, TimeLimitExceeded

__all__ = ["BrokerClient"]

type Command = Sequence[str | bytes | int]


class _Kept(threading.local):
    connection: AbstractConnection | None = None
    pid: int = 0


class BrokerClient:
    """One connection per thread, kept open and made anew after a fork.

    A command is sent once: what a lost connection may have left is settled by sending the reference again. A broker
    that is down costs `connect_timeout` and `socket_timeout` seconds at most, then nothing while the breaker is open.
    """

    def __init__(self, *, broker: Broker, breaker: Breaker) -> None:
        self._broker = broker
        self._kept = _Kept()
        self._breaker = breaker
        self.public_url = broker.public_url

    def exchange(self, *commands: Command) -> list[Any]:
        """Send `commands` in one round trip and answer their replies; raises `BrokerUnavailable` if any fails."""
        replies = self.exchange_leniently(*commands)
        for reply in replies:
            if isinstance(reply, redis.RedisError):
                self.refuse(reply)
        return replies

    def exchange_leniently(self, *commands: Command) -> list[Any]:
        """As `exchange`, but a command that the server refuses has its error among the replies."""
        self._breaker.check()
        try:
            replies = self._send(commands)
        except (redis.RedisError, OSError) as error:
            if (ended := _time_limit_in(error)) is not None:
                raise ended from None
            raise self._unavailable(error) from error
        if not any(isinstance(reply, redis.RedisError) for reply in replies):
            # Else the caller may `refuse` one of them: a server that is full answers, and is not back.
            self._breaker.succeeded()
        return replies

    def refuse(self, error: Exception) -> NoReturn:
        """Raise `BrokerUnavailable` for an error among the replies; the next connection may reach another server."""
        self.close()
        raise self._unavailable(error) from error

    def close(self) -> None:
        """Close this thread's connection; the next command opens another."""
        kept, self._kept.connection = self._kept.connection, None
        if kept is not None and self._kept.pid == os.getpid():
            kept.disconnect()

    def _send(self, commands: Sequence[Command]) -> list[Any]:
        connection = self._connection()
        replies: list[Any] = []
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            for _ in commands:
                try:
                    replies.append(connection.read_response())
                except redis.ResponseError as error:
                    replies.append(error)
        except BaseException:
            # Half an answer may be left on it.
            self.close()
            raise
        return replies

    def _connection(self) -> AbstractConnection:
        kept = self._kept.connection
        if kept is not None and self._kept.pid == os.getpid() and _sound(kept):
            return kept
        self.close()
        fresh = self._broker.connection()
        fresh.connect()
        self._kept.connection, self._kept.pid = fresh, os.getpid()
        return fresh

    def _unavailable(self, error: Exception) -> BrokerUnavailable:
        text = f"The Celery broker {self.public_url} {_in_plain_words(error)}"
        self._breaker.failed(text)
        return BrokerUnavailable(text)


def _sound(connection: AbstractConnection) -> bool:
    """Whether the server still holds its end: nothing is owed to us, so what can be read is its goodbye."""
    try:
        return not connection.can_read()
    except redis.RedisError:
        return False


def _time_limit_in(error: BaseException | None) -> TimeLimitExceeded | None:
    """The end of a body that a signal raised while it waited here: the client takes it for its socket's timeout."""
    while error is not None and not isinstance(error, TimeLimitExceeded):
        error = error.__context__
    return error


def _in_plain_words(error: Exception) -> str:
    message = str(error)
    stranger = isinstance(error, redis.AuthenticationError | redis.exceptions.NoPermissionError)
    if stranger or message.startswith(("NOAUTH", "WRONGPASS")):
        return f"refuses this user or password ({message}). Correct BROKER_URL or the server's ACL."
    match error:
        case MasterNotFoundError():
            # Its message has all that the client knows of each Sentinel.
            words = "has no primary: no Sentinel answers, or none knows one of that 'master_name'."
        case redis.exceptions.OutOfMemoryError():
            words = f"is full ({message}). Raise its maxmemory, or let workers drain the queues."
        case redis.ReadOnlyError():
            words = f"is a read-only replica ({message}). Point BROKER_URL at the primary."
        case redis.BusyLoadingError():
            words = "is still loading its data."
        case redis.ResponseError():
            words = f"refuses the command ({message})."
        case redis.TimeoutError():
            words = f"does not answer in time ({message})."
        case _ if "CERTIFICATE_VERIFY_FAILED" in message:
            words = (
                f"shows a certificate that is not trusted ({message}). Name its authority by ssl_ca_certs in the URL's"
                " query, or take any by ssl_cert_reqs=none."
            )
        case _:
            words = f"cannot be reached ({message})."
    return words
