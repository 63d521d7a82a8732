"""What a broker's URL may say: each form that Celery documents is read as kombu reads it, or refused at start."""

import signal
import socket
import ssl
import traceback
from typing import Any
from urllib.parse import quote

import pytest
import redis
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st
from redis.sentinel import SentinelManagedConnection

from tandem.configuration import CeleryOptions, Configuration
from tandem.engines.breaker import Breaker
from tandem.engines.celery.app import app_of, broker_of, options_of
from tandem.engines.celery.broker import public_url
from tandem.engines.celery.client import BrokerClient
from tandem.engines.celery.engine import CeleryEngine
from tandem.exceptions import ConfigurationError, TimeLimitExceeded

QUEUES = ("default",)
SECRET = "s3cr3t"


def options(url: Any, **celery: Any) -> CeleryOptions:
    engines = {"ENGINES": {"celery": {"BROKER_URL": url, **celery}}}
    return options_of(Configuration.read("default", {"OPTIONS": engines}))


def read(url: Any, **celery: Any) -> Any:
    """The connection that a producer would open."""
    return broker_of(options(url, **celery), QUEUES).connection()


def facts(connection: Any) -> dict[str, Any]:
    names = ("host", "port", "path", "db", "username", "password", "cert_reqs", "ca_certs", "check_hostname")
    return {name: value for name in names if (value := getattr(connection, name, None)) not in (None, "", False)}


@pytest.mark.parametrize(
    ("url", "kind", "expected"),
    [
        ("redis://", redis.Connection, {"host": "127.0.0.1", "port": 6379}),
        ("redis://broker", redis.Connection, {"host": "broker", "port": 6379}),
        ("redis://broker:7000/3", redis.Connection, {"host": "broker", "port": 7000, "db": 3}),
        ("redis://[::1]:7000/3", redis.Connection, {"host": "::1", "port": 7000, "db": 3}),
        ("redis://:pw@broker", redis.Connection, {"host": "broker", "port": 6379, "password": "pw"}),
        (
            f"redis://{quote('a@:/?#[]%;b', safe='')}:{quote('@:/?#[]% +;&é', safe='')}@broker",
            redis.Connection,
            {"host": "broker", "port": 6379, "username": "a@:/?#[]%;b", "password": "@:/?#[]% +;&é"},
        ),
        ("redis+socket:///run/redis.sock", redis.UnixDomainSocketConnection, {"path": "/run/redis.sock"}),
        (
            "redis+socket://user:p%40w@/run/redis.sock?virtual_host=3",
            redis.UnixDomainSocketConnection,
            {"path": "/run/redis.sock", "db": 3, "username": "user", "password": "p@w"},
        ),
        ("rediss://b?ssl_cert_reqs=CERT_NONE", redis.SSLConnection, {"host": "b", "port": 6379}),
        ("rediss://b?ssl_cert_reqs=none", redis.SSLConnection, {"host": "b", "port": 6379}),
        (
            "rediss://b?ssl_cert_reqs=required&ssl_ca_certs=/ca.pem&ssl_check_hostname=false",
            redis.SSLConnection,
            {"host": "b", "port": 6379, "cert_reqs": ssl.CERT_REQUIRED, "ca_certs": "/ca.pem"},
        ),
        (
            "rediss://b",
            redis.SSLConnection,
            {"host": "b", "port": 6379, "cert_reqs": ssl.CERT_REQUIRED, "check_hostname": True},
        ),
    ],
)
def test_a_url_means_the_same_at_both_ends(url: str, kind: type[Any], expected: dict[str, Any]) -> None:
    connection = read(url)
    assert type(connection) is kind
    assert facts(connection) == expected
    assert (connection.socket_connect_timeout, connection.socket_timeout) == (0.4, 0.5)
    with app_of(options(url), QUEUES, worker=True).connection_for_read() as theirs:
        channel = type("C", (theirs.transport.Channel,), {"client": type("P", (), {"ping": lambda _: 1})()})
        pool = channel(theirs.transport)._get_pool()
    assert facts(pool.connection_class(**pool.connection_kwargs)) == expected


def test_options_say_what_the_url_does_not() -> None:
    connection = read("redis://b", BROKER_USE_SSL={"ssl_ca_certs": "/ca.pem"}, BROKER_TRANSPORT_OPTIONS={"sep": "|"})
    assert facts(connection) == {
        "host": "b",
        "port": 6379,
        "cert_reqs": ssl.CERT_REQUIRED,
        "ca_certs": "/ca.pem",
        "check_hostname": True,
    }
    celery = {"BROKER_TRANSPORT_OPTIONS": {"sep": "|", "global_keyprefix": "shop:"}}
    engine = CeleryEngine(Configuration.read("default", {"OPTIONS": {"ENGINES": {"celery": celery}}}))
    assert engine.lists.key("default", 3) == "shop:default|3"


def test_sentinels_are_asked_for_the_primary_and_have_a_password_of_their_own() -> None:
    for url in (
        ["sentinel://u:p%40w@one:26379/2", "sentinel://u:p%40w@two/2"],
        "sentinel://u:p%40w@one:26379/2;sentinel://u:p%40w@two/2",
    ):
        connection = read(
            url, BROKER_TRANSPORT_OPTIONS={"master_name": "shop", "sentinel_kwargs": {"password": "its own"}}
        )
        assert isinstance(connection, SentinelManagedConnection)
        assert facts(connection).items() >= {"db": 2, "username": "u", "password": "p@w"}.items()
        manager = connection.connection_pool.sentinel_manager
        asked = [sentinel.connection_pool.connection_kwargs for sentinel in manager.sentinels]
        assert [(each["host"], each["port"], each["password"]) for each in asked] == [
            ("one", 26379, "its own"),
            ("two", 26379, "its own"),
        ]
        assert {each["socket_connect_timeout"] for each in asked} == {0.4}


def test_the_environments_url_is_another_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "amqp://theirs")
    assert facts(read("redis://ours/7")) == {"host": "ours", "port": 6379, "db": 7}
    app = app_of(options("redis://ours/7"), QUEUES, worker=True)
    assert {app.connection_for_read().hostname, app.connection().hostname} == {"ours"}


@pytest.mark.parametrize(
    ("url", "celery", "way_out"),
    [
        ("amqp://u:s3cr3t@broker", {}, "needs Redis or Valkey: redis, rediss"),
        ("unix:///run/redis.sock", {}, "redis\\+socket"),
        ("s3cr3t@broker", {}, "Write it as redis://HOST"),
        ("redis://:s3cr3t#x@broker/0", {}, "percent-encode"),
        ("redis://:s3cr3t/x@broker/0", {}, "percent-encode"),
        ("redis://:s3cr3t?x@broker/0", {}, "percent-encode"),
        ("redis://:s3cr3t[x@broker/0", {}, "percent-encode"),
        ("redis://:s3cr3t;x@broker/0", {}, "percent-encode"),
        ("redis://broker:s3cr3t", {}, "percent-encode"),
        ("redis://:s3cr3t@broker/shop", {}, "database is no number"),
        ("redis+socket:///run/redis.sock?virtual_host=shop", {}, "virtual_host=0"),
        ("redis://:s3cr3t@broker/0?db=3", {}, "unexpected keyword argument 'db'"),
        ("redis+socket://:s3cr3t@/run/redis.sock?foo=s3cr3t", {}, "unexpected keyword argument 'foo'"),
        ("redis://broker?password=s3cr3t", {}, "keyword argument 'password'"),
        ("rediss://:s3cr3t@broker?ssl_cert_reqs=maybe", {}, "CERT_REQUIRED, CERT_OPTIONAL"),
        ("redis://broker?credential_provider=no.such", {}, "ModuleNotFoundError"),
        ("redis://broker", {"BROKER_USE_SSL": {"keyfile": "s3cr3t"}}, "unexpected keyword argument 'keyfile'"),
        ("redis://:s3cr3t@a;redis://:s3cr3t@b", {}, "Name one address"),
        (["redis://:s3cr3t@a", "redis://:s3cr3t@b"], {}, "Name one address"),
        ("sentinel://:s3cr3t@a", {}, "master_name"),
        ("sentinel://:s3cr3t@a;sentinel://b", {"BROKER_TRANSPORT_OPTIONS": {"master_name": "m"}}, "Give them the same"),
        ("sentinel://a/1;sentinel://b/2", {"BROKER_TRANSPORT_OPTIONS": {"master_name": "m"}}, "Give them the same"),
        (b"redis://:s3cr3t@a", {}, "must be a str"),
        ("redis://a", {"BROKER_TRANSPORT_OPTIONS": "s3cr3t"}, "must be a dict"),
    ],
)
def test_what_a_worker_could_not_use_is_refused_at_start(url: Any, celery: dict[str, Any], way_out: str) -> None:
    configured = {"OPTIONS": {"ENGINES": {"celery": {"BROKER_URL": url, **celery}}}}
    with pytest.raises(ConfigurationError, match=way_out) as raised:
        CeleryEngine(Configuration.read("default", configured))
    assert SECRET not in "".join(traceback.format_exception(raised.value))
    assert "['BROKER_" in str(raised.value)


PROJECT = Celery("project", fixups=[], set_as_current=False)


@pytest.mark.parametrize(
    ("settings", "way_out"),
    [
        ({"broker_url": None}, "no URL"),
        ({"broker_url": "amqp://u:s3cr3t@broker"}, "needs Redis"),
        ({"broker_url": "sentinel://:s3cr3t@broker"}, "master_name"),
        ({"broker_url": "rediss://:s3cr3t@broker", "broker_use_ssl": True}, "plain text"),
        ({"broker_url": "redis://b/0", "broker_read_url": "redis://:s3cr3t@b/1"}, "broker_read_url"),
    ],
)
def test_a_projects_own_app_is_asked_before_a_row_is_written(settings: dict[str, Any], way_out: str) -> None:
    nothing = {"broker_url": None, "broker_read_url": None, "broker_use_ssl": False}
    PROJECT.conf.update({**nothing, **settings})
    celery = {"APP": f"{__name__}.PROJECT"}
    engine = CeleryEngine(Configuration.read("default", {"OPTIONS": {"ENGINES": {"celery": celery}}}))
    (problem,) = engine.problems()
    with pytest.raises(ConfigurationError, match=way_out):
        engine.epoch()
    assert way_out in problem
    assert f"The broker_url of {__name__}.PROJECT" in problem
    assert SECRET not in problem


def test_a_configuration_does_not_show_what_may_hold_a_password() -> None:
    shown = repr(options(f"redis://:{SECRET}@b", BROKER_TRANSPORT_OPTIONS={"sentinel_kwargs": {"password": SECRET}}))
    assert SECRET not in shown
    assert SECRET not in repr(broker_of(options(f"redis://:{SECRET}@b"), QUEUES))


@given(st.text(), st.sampled_from(["redis://{}@h:1/2", "redis://u:{}@h", "x://a;sentinel://:{}@h?q=1#f"]))
def test_no_password_is_shown_whatever_is_in_it(password: str, form: str) -> None:
    shown = public_url(form.format(f"{SECRET}{password}"))
    assert SECRET not in shown
    assert SECRET not in public_url(form.format(f"{password}{SECRET}"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rediss://user:se@cret@host:6380/1?ssl_cert_reqs=none", "rediss://host:6380/1"),
        ("redis+socket://:pw@/run/redis.sock?virtual_host=1", "redis+socket:///run/redis.sock"),
        ("sentinel://:pw@a:1;sentinel://:pw@[::1]:2/0", "sentinel://a:1;sentinel://[::1]:2/0"),
        ("redis://:a?b@host", "redis://***"),
        ("redis://host:secret", "redis://***"),
        ("secret", "***"),
    ],
)
def test_of_a_url_the_place_is_shown(url: str, shown: str) -> None:
    assert public_url(url) == shown


def test_a_time_limit_that_passes_during_a_send_is_not_the_brokers() -> None:
    """The client takes it for its socket's timeout, and the body would go on."""
    over = TimeLimitExceeded("over")

    def end(_number: int, _frame: Any) -> None:
        raise over

    with socket.create_server(("127.0.0.1", 0)) as silent:
        breaker = Breaker(seconds=60)
        broker = broker_of(options(f"redis://127.0.0.1:{silent.getsockname()[1]}", SOCKET_TIMEOUT=30.0), QUEUES)
        before = signal.signal(signal.SIGALRM, end)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            with pytest.raises(TimeLimitExceeded) as caught:
                BrokerClient(broker=broker, breaker=breaker).exchange(("PING",))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    assert caught.value is over
    breaker.check()
