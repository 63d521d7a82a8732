"""Where a process listens: IPv4 and IPv6, wherever HOST:PORT is taken."""

import socket
from http.client import HTTPConnection

import pytest

from tandem.engines.restate.server import _listen
from tandem.exceptions import ConfigurationError
from tandem.probes.health import Answer, address_of, listen


def _is_here(family: socket.AddressFamily, host: str) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


# A container may have no IPv6.
IPV6 = ["[::1]", "[::]"] if _is_here(socket.AF_INET6, "::1") else []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "", *IPV6])
def test_every_address_of_this_machine_may_be_listened_to(host: str) -> None:
    server = listen(f"{host}:0", {"/-/alive": lambda _: Answer(body="alive\n")}, option="--health")
    taken = _listen(f"{host}:0")
    try:
        asked = HTTPConnection("::1" if host in IPV6 else "127.0.0.1", server.server_port, timeout=10)
        asked.request("GET", "/-/alive")
        assert asked.getresponse().read() == b"alive\n"
        asked.close()
        socket.create_connection(("::1" if host in IPV6 else "127.0.0.1", taken.getsockname()[1])).close()
    finally:
        server.server_close()
        taken.close()


@pytest.mark.parametrize(
    ("bind", "address"),
    [
        ("[::1]:0", (socket.AF_INET6, "::1", 0)),
        ("[::]:8000", (socket.AF_INET6, "::", 8000)),
        ("0.0.0.0:8000", (socket.AF_INET, "0.0.0.0", 8000)),
        ("localhost:8000", (socket.AF_INET, "localhost", 8000)),
        (":8000", (socket.AF_INET, "", 8000)),
    ],
)
def test_an_address_is_read_alike_everywhere(bind: str, address: tuple[int, str, int]) -> None:
    assert address_of(bind) == address


@pytest.mark.parametrize(
    "bind", ["no port", "[::1]", "[::1]:http", "192.0.2.1:0", "127.0.0.1:99999", "no.such.invalid:0"]
)
def test_what_is_no_address_is_named_with_the_option(bind: str) -> None:
    with pytest.raises(ConfigurationError, match="Give --health another HOST:PORT"):
        listen(bind, {}, option="--health")
    with pytest.raises(ConfigurationError, match="Give --bind another HOST:PORT"):
        _listen(bind)
