"""Bytes on kept connections: every answer is its own request's, and a broken connection loses none."""

import json
import socketserver
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from tandem.configuration import Configuration, RestateOptions
from tandem.embedded.ports import Ports
from tandem.engines.base import Reference
from tandem.engines.restate.answers import read_answer
from tandem.engines.restate.client import RestateClient
from tandem.engines.restate.engine import RestateEngine
from tandem.engines.restate.messages import Requests, RestateRefused
from tandem.engines.restate.targets import Target
from tandem.exceptions import BrokerUnavailable

TARGET = Target(service="Work", handler="noop")
WRONG = {"page": b"<html>", "half": b"\xff\xfe{", "list": b"[]", "other": b'{"id": 1}', "nothing": b""}


class Ingress(socketserver.StreamRequestHandler):
    """Answers with the request's own key; what it does is set by each test."""

    seen: ClassVar[list[str]] = []
    answers_each: ClassVar[int] = 1_000_000
    chunked: ClassVar[bool] = False

    def handle(self) -> None:
        for _ in range(self.answers_each):
            line = self.rfile.readline()
            if not line:
                return
            headers: dict[str, str] = {}
            while (header := self.rfile.readline().strip()) != b"":
                name, _, value = header.decode().partition(":")
                headers[name.lower()] = value.strip()
            self.rfile.read(int(headers.get("content-length", 0)))
            if "/admin/" in line.decode():
                self.wfile.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
                continue
            key = headers["idempotency-key"]
            if key == "silent":
                continue
            self.seen.append(key)
            self.wfile.write(self.answer(key))

    def answer(self, key: str) -> bytes:
        status, body = "202 Accepted", json.dumps({"invocationId": key}).encode()
        if key.startswith("refused"):
            status, body = "404 Not Found", b'{"message": "service not found"}'
        if key in WRONG:
            status, body = "200 OK", WRONG[key]
        if self.chunked:
            head, sent = "transfer-encoding: chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        else:
            head, sent = f"content-length: {len(body)}", body
        return f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{head}\r\n\r\n".encode() + sent


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


@pytest.fixture
def options() -> Iterator[RestateOptions]:
    Ingress.seen, Ingress.answers_each, Ingress.chunked = [], 1_000_000, False
    with Server(("127.0.0.1", 0), Ingress) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield RestateOptions(ingress_url=f"http://127.0.0.1:{server.server_address[1]}", request_timeout=5.0)
        server.shutdown()
        thread.join()


@pytest.fixture
def client(options: RestateOptions) -> Iterator[RestateClient]:
    made = RestateClient(options)
    yield made
    made.close()


def queries(options: RestateOptions, keys: list[str]) -> list[Any]:
    requests = Requests(options=options)
    return [requests.send(TARGET, key) for key in keys]


def some(number: int) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(number)]


@pytest.mark.parametrize("chunked", [False, True])
def test_every_answer_belongs_to_its_request(client: RestateClient, options: RestateOptions, chunked: bool) -> None:  # noqa: FBT001  # a parameter
    Ingress.chunked = chunked
    keys = some(1_000)
    assert client.ask_all(queries(options, keys)) == keys
    assert sorted(Ingress.seen) == sorted(keys)


def test_a_refusal_is_its_own_requests(client: RestateClient, options: RestateOptions) -> None:
    keys = ["a", "refused-1", "b"]
    first, refused, last = client.ask_all(queries(options, keys))
    assert (first, last) == ("a", "b")
    assert isinstance(refused, RestateRefused)
    assert "service not found" in str(refused)


@pytest.mark.parametrize("key", WRONG)
def test_an_answer_that_is_not_restates_is_a_refusal_that_shows_it(
    client: RestateClient, options: RestateOptions, key: str
) -> None:
    """A proxy's page, or another server on that port."""
    first, refused = client.ask_all(queries(options, ["a", key]))
    assert first == "a"
    assert isinstance(refused, RestateRefused)
    assert refused.status == 502
    assert "which Restate does not say" in str(refused)


def test_a_kept_connection_that_the_server_closed_is_made_anew(client: RestateClient, options: RestateOptions) -> None:
    Ingress.answers_each = 1
    for _ in range(3):
        keys = some(4)
        assert client.ask_all(queries(options, keys)) == keys


def test_a_server_that_closes_each_connection_after_an_answer_gets_all(
    client: RestateClient, options: RestateOptions
) -> None:
    Ingress.answers_each = 1
    keys = some(200)
    assert client.ask_all(queries(options, keys)) == keys


def test_a_server_that_breaks_every_connection(client: RestateClient, options: RestateOptions) -> None:
    Ingress.answers_each = 0
    with pytest.raises(BrokerUnavailable, match="INGRESS_URL"):
        client.ask_all(queries(options, some(200)))


def test_an_admin_api_that_is_away_behind_the_ingress_gateway_stops_no_send(options: RestateOptions) -> None:
    restate = {"INGRESS_URL": options.ingress_url, "ADMIN_URL": f"{options.ingress_url}/admin"}
    engine = RestateEngine(Configuration.read("default", {"OPTIONS": {"ENGINES": {"restate": restate}}}))
    sent = Reference(id=uuid.uuid4(), task="nobody.knows", queue="default", priority=0)
    with pytest.raises(BrokerUnavailable):
        engine.cancel([replace(sent, invocation="inv_1")])
    engine.submit([sent])
    assert len(Ingress.seen) == 1
    engine.close()


def test_a_single_request_survives_a_closed_connection(client: RestateClient, options: RestateOptions) -> None:
    Ingress.answers_each = 1
    for key in some(3):
        assert client.ask(queries(options, [key])[0]) == key


def test_a_server_that_says_nothing_is_waited_for_as_long_as_the_request_says(
    client: RestateClient, options: RestateOptions
) -> None:
    keys = [*some(40), "silent"]
    with pytest.raises(BrokerUnavailable, match=r"no answer within 0\.2 s"):
        client.ask_all([Requests(options=options).send(TARGET, key, seconds=0.2) for key in keys])


@pytest.mark.parametrize("url", ["http://restate..svc:8080", "http://127.0.0.1:1/pfad-\xfc", "http://[::1]:1"])
def test_a_url_that_leads_nowhere_is_named(url: str) -> None:
    wrong = RestateOptions(ingress_url=url)
    with pytest.raises(BrokerUnavailable, match="INGRESS_URL"):
        RestateClient(wrong).ask(queries(wrong, ["a"])[0])


HEADS = (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 202 Accepted\r\nContent-Length: 4\r\n\r\nbody",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\nbo\r\n2\r\ndy\r\n0\r\nsum: 1\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
)


def test_an_answer_is_whole_however_its_bytes_come() -> None:
    stream, received, found = b"".join(HEADS), bytearray(), []
    for byte in stream:
        received.append(byte)
        if (answer := read_answer(received, ended=False)) is not None:
            found.append(answer)
    assert [(answer.status, answer.content, kept) for answer, kept in found] == [
        (202, b"body", True),
        (200, b"body", True),
        (204, b"", True),
    ]
    assert not received


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", False),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 13\r\n\r\nuntil the end", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 13\r\n\r\nuntil the end", False),
    ],
)
def test_a_connection_that_ends_with_its_answer_is_not_kept(text: bytes, kept: bool) -> None:  # noqa: FBT001  # as above
    found = read_answer(bytearray(text), ended=True)
    assert found is not None
    assert (found[0].content, found[1]) == (b"until the end", kept)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "which is no HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", "content-length is 'many'"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "a chunk's size is b'zz'"),
        (b"x" * 70_000, "no HTTP"),
    ],
)
def test_what_is_no_http_is_said(text: bytes, says: str) -> None:
    with pytest.raises(ConnectionError, match=says):
        read_answer(bytearray(text), ended=False)


@pytest.mark.parametrize("text", [b"", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbo"])
def test_an_answer_that_ends_too_soon_is_said(text: bytes) -> None:
    with pytest.raises(ConnectionError, match="the connection was closed"):
        read_answer(bytearray(text), ended=True)


def test_an_admin_api_that_is_away_is_logged_once_and_stops_no_send(
    options: RestateOptions, caplog: pytest.LogCaptureFixture
) -> None:
    """It is another server: a network policy may shut it alone."""
    nowhere = f"http://127.0.0.1:{Ports.free().restate_admin}"
    restate = {"INGRESS_URL": options.ingress_url, "ADMIN_URL": nowhere, "BREAKER_SECONDS": 0.0}
    engine = RestateEngine(Configuration.read("default", {"OPTIONS": {"ENGINES": {"restate": restate}}}))
    for number in range(3):
        sent = Reference(id=uuid.uuid4(), task="nobody.knows", queue="default", priority=0)
        with pytest.raises(BrokerUnavailable, match="ADMIN_URL"):
            engine.cancel([replace(sent, invocation=f"inv_{number}")])
        engine.submit([sent])
    assert len(Ingress.seen) == 3
    (away,) = caplog.messages
    assert "Sends go on" in away
    assert "the relay sends" not in away
    engine.close()
