"""Each form of a broker's URL on a real server: what a producer puts there, kombu takes in the worker's way."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from kombu.messaging import Consumer

from tandem.configuration import Configuration
from tandem.embedded import binaries
from tandem.engines.base import Reference
from tandem.engines.celery.app import app_of, options_of
from tandem.engines.celery.engine import CeleryEngine
from tandem.exceptions import BrokerUnavailable
from tandem.ledger.identity import new_id
from tests.celery_work.stage import Broker, Stage, free_port, until
from tests.work import tasks

PASSWORD = "s3cr3t@:/?#[]%;& é"
ACL = "s3cr3t+%/@:"


def configuration(**celery: Any) -> Configuration:
    return Configuration.read("default", {"OPTIONS": {"ENGINES": {"celery": {"BREAKER_SECONDS": 0.05, **celery}}}})


def references(count: int = 1) -> list[Reference]:
    return [Reference(id=new_id(), task="tests.work.tasks.noop", queue="default", priority=0) for _ in range(count)]


def taken(settings: Configuration, count: int) -> list[str]:
    """What kombu takes from the queue, with the connection and the queues that the worker's app has."""
    app = app_of(options_of(settings), settings.queues, worker=True)
    ids: list[str] = []

    def take(_body: Any, message: Any) -> None:
        ids.append(message.headers["id"])
        message.ack()

    with app.connection_for_read() as connection, connection.channel() as channel:
        with Consumer(channel, list(app.amqp.queues.values()), callbacks=[take], accept=["json"]):
            until(lambda: connection.drain_events(timeout=10) or len(ids) >= count, seconds=20)
        channel.close()
    return ids


def meet(settings: Configuration) -> None:
    """Send from here and take there."""
    sent = references(2)
    CeleryEngine(settings).submit(sent)
    assert sorted(taken(settings, len(sent))) == sorted(str(reference.id) for reference in sent)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    made: list[Broker] = []

    def start(*options: str) -> Broker:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Broker(folder, options).start())
        return made[-1]

    yield start
    for broker in made:
        broker.stop()


def test_a_user_a_password_a_database_and_a_socket(
    server: Callable[..., Broker], tmp_path: Path, database: None
) -> None:
    path = f"{tmp_path}/redis.sock"
    broker = server("--unixsocket", path)
    user = quote("us@er/#", safe="")
    with broker.client as client:
        client.execute_command("ACL", "SETUSER", "us@er/#", "on", f">{PASSWORD}", "~*", "&*", "+@all")
        client.execute_command("ACL", "SETUSER", "default", "off")
    place = f"127.0.0.1:{broker.port}"
    for url in (
        f"redis://{user}:{quote(PASSWORD, safe='')}@{place}/3",
        f"redis+socket://{user}:{quote(PASSWORD, safe='')}@{path}?virtual_host=4",
    ):
        meet(configuration(BROKER_URL=url))
        text, *_ = CeleryEngine(configuration(BROKER_URL=url.replace("s3cr3t", "wr0ng"))).check()
        assert "refuses this user or password" in text
        assert not {part for part in ("s3cr3t", "wr0ng", "%40%3A") if part in text}
    with redis.Redis(port=broker.port, username="us@er/#", password=PASSWORD) as client:
        assert sorted(client.info("keyspace")) == ["db3", "db4"]


class Tls:
    """A server's TLS, ended in front of it: the packaged one is built without."""

    def __init__(self, folder: Path, port: int) -> None:
        self.certificate, key = folder / "certificate.pem", folder / "key.pem"
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
        ]
        command += ["subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(self.certificate)]
        subprocess.run(command, check=True, capture_output=True)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.certificate, key)
        self._behind = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        try:
            near = self._context.wrap_socket(raw, server_side=True)
        except OSError:
            return
        far = socket.create_connection(("127.0.0.1", self._behind))
        # Each direction from a thread of its own.
        threading.Thread(target=self._pump, args=(far, near), daemon=True).start()
        self._pump(near, far)

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, target):
                end.close()

    def close(self) -> None:
        self._listening.close()


def test_a_certificate_is_checked_alike_at_both_ends(server: Callable[..., Broker], tmp_path: Path) -> None:
    tls = Tls(tmp_path, server().port)
    place = f"rediss://localhost:{tls.port}"
    try:
        for settings in (
            {"BROKER_URL": f"{place}?ssl_cert_reqs=CERT_NONE"},
            {"BROKER_URL": f"{place}?ssl_cert_reqs=required&ssl_ca_certs={tls.certificate}"},
            {"BROKER_URL": place, "BROKER_USE_SSL": {"ssl_ca_certs": str(tls.certificate)}},
            {"BROKER_URL": f"redis://127.0.0.1:{tls.port}", "BROKER_USE_SSL": {"ssl_cert_reqs": ssl.CERT_NONE}},
        ):
            meet(configuration(**settings))
        strict = configuration(BROKER_URL=place)
        with pytest.raises(BrokerUnavailable, match=r"not trusted .*ssl_ca_certs"):
            CeleryEngine(strict).submit(references())
        with (
            app_of(options_of(strict), strict.queues, worker=True).connection_for_read() as connection,
            pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            connection.channel()
    finally:
        tls.close()


@pytest.fixture
def sentinel(server: Callable[..., Broker], tmp_path: Path) -> Iterator[tuple[list[Broker], int]]:
    """A primary and its replica, with a password, and a Sentinel with one of its own that moves at once."""
    with_password = ("--requirepass", ACL, "--masterauth", ACL)
    servers: list[Broker] = []
    for options in ((), ("--replicaof",)):
        broker = server()
        servers.append(broker)
        with broker.client as client:
            if options:
                client.replicaof("127.0.0.1", str(servers[0].port))
            for name, value in zip(with_password[::2], with_password[1::2], strict=True):
                client.config_set(name.removeprefix("--"), value)
                if name == "--requirepass":
                    client.execute_command("AUTH", ACL)
    port = free_port()
    file = tmp_path / "sentinel.conf"
    file.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nrequirepass sent1nel\nsentinel sentinel-pass sent1nel\n"
        f"sentinel monitor shop 127.0.0.1 {servers[0].port} 1\nsentinel down-after-milliseconds shop 300\n"
        f"sentinel failover-timeout shop 2000\nsentinel auth-pass shop {ACL}\n"
    )
    process = subprocess.Popen([str(binaries.redis().path), str(file), "--sentinel"], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port, password="sent1nel") as asked:
            until(lambda: _replicas(asked) == 1, what="Sentinel knows the replica")
        yield servers, port
    finally:
        process.kill()
        process.wait()


def _replicas(asked: "redis.Redis") -> int:
    try:
        found = asked.sentinel_slaves("shop")
    except redis.RedisError:
        return 0
    return sum("s_down" not in each["flags"] and each["master-link-status"] == "ok" for each in found)


def test_sentinel_names_the_primary_and_its_successor(sentinel: tuple[list[Broker], int], database: None) -> None:
    (primary, replica), port = sentinel
    url = f"sentinel://:{quote(ACL, safe='')}@127.0.0.1:1/2;sentinel://:{quote(ACL, safe='')}@127.0.0.1:{port}/2"
    transport = {"master_name": "shop", "sentinel_kwargs": {"password": "sent1nel"}}
    settings = configuration(BROKER_URL=url, BROKER_TRANSPORT_OPTIONS=transport)
    meet(settings)
    engine = CeleryEngine(settings)
    engine.submit(references())
    primary.stop()
    with pytest.raises(BrokerUnavailable) as raised:
        engine.submit(references())
    moved, said = references(), [str(raised.value)]

    def send() -> bool:
        try:
            return engine.submit(moved) is not None
        except BrokerUnavailable as error:
            said.append(str(error))
            return False

    until(send, what="the successor takes it")
    with redis.Redis(port=replica.port, password=ACL, db=2) as client:
        assert client.role()[0] == b"master"
        assert any(str(moved[0].id).encode() in message for message in client.lrange("default:6", 0, -1))
    nowhere = configuration(BROKER_URL=url, BROKER_TRANSPORT_OPTIONS={**transport, "master_name": "other"})
    text, *_ = CeleryEngine(nowhere).check()
    assert "no Sentinel answers, or none knows one of that 'master_name'" in text
    assert not {secret for secret in (ACL, "sent1nel", "s3cr3t") if secret in f"{text} {said}"}


def test_a_worker_says_nothing_of_a_password(celery: Stage, server: Callable[..., Broker], tmp_path: Path) -> None:
    broker = server()
    with broker.client as client:
        client.execute_command("ACL", "SETUSER", "shop", "on", f">{PASSWORD}", "~*", "&*", "+@all")
        client.execute_command("ACL", "SETUSER", "default", "off")
    url = f"redis://shop:{quote(PASSWORD, safe='')}@127.0.0.1:{broker.port}/5"
    worker = celery.spawn(
        "-m", "django", "tandem", "worker", "--concurrency", "1", "--loglevel", "debug", environment={"TANDEM_BROKER_URL": url},
    )  # fmt: skip
    engine = CeleryEngine(
        Configuration.read(
            "default",
            {
                "QUEUES": ["default", "other", "emails"],
                "OPTIONS": {"ENGINES": {"celery": {"BROKER_URL": url}}, "LEASE_SECONDS": celery.lease},
            },
        )
    )
    result = tasks.noop.enqueue()
    engine.submit([Reference(id=celery.row(result.id).id, task=result.task.module_path, queue="default", priority=0)])
    celery.reaches(result.id, "succeeded")
    broker.stop()
    until(lambda: "annot connect to" in worker.text, what="the worker misses its broker")
    worker.stop()
    assert f"127.0.0.1:{broker.port}" in worker.text
    assert not {part for part in ("s3cr3t", quote(PASSWORD, safe="")[6:]) if part in worker.text}


@pytest.fixture
def epochless(server: Callable[..., Broker]) -> Iterator[tuple[Configuration, Any]]:
    broker = server()
    with broker.client as client:
        # May push and read, as a careful administrator may have it; but may not write the epoch.
        client.execute_command("ACL", "SETUSER", "shop", "on", ">pw", "~*", "&*", "+@all", "-set")
        yield configuration(BROKER_URL=f"redis://shop:pw@127.0.0.1:{broker.port}/0"), client


def test_a_broker_that_keeps_no_epoch_takes_nothing_twice_and_loses_nothing(
    celery: Stage, epochless: tuple[Configuration, Any]
) -> None:
    settings, client = epochless
    engine = CeleryEngine(settings)
    sent = references()
    for _ in range(3):
        until(lambda: _refuses(lambda: engine.submit(sent)), what="the epoch is missed")
    assert client.llen("default:6") == 1
    result = tasks.noop.enqueue()
    until(lambda: _refuses(lambda: engine.find_lost(lease=0)), what="the epoch is missed")
    assert celery.row(result.id).due_at is None, "nothing is called lost for the want of an epoch"
    client.set("tandem:epoch", "somebody's")
    assert until(lambda: _answer(lambda: engine.submit(references())), what="it is enough to read it") == "somebody's"


def _refuses(call: Callable[[], Any]) -> bool:
    try:
        call()
    except BrokerUnavailable as error:
        return "NOPERM" in str(error) or "ermission" in str(error)
    return False


def _answer(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except BrokerUnavailable:
        return None
