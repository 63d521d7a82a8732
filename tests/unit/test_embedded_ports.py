import os
import socket

import pytest

from tandem.embedded.exceptions import StackError
from tandem.embedded.ports import HOST, OWNERS, Ports


def test_an_option_beats_the_environment_which_beats_the_default() -> None:
    environment = {"TANDEM_PORT_WEB": "8100", "TANDEM_PORT_RESTATE_ADMIN": "9170", "TANDEM_PORT_REDIS": ""}
    ports = Ports.chosen({"port_web": "8200", "port_smtp": None}, environment)
    assert (ports.web, ports.restate_admin, ports.redis, ports.smtp) == (8200, 9170, 6390, 1025)


@pytest.mark.parametrize("text", ["x", "0", "65536", "-1", "²"])
def test_what_is_no_port_is_refused_by_name(text: str) -> None:
    with pytest.raises(StackError, match="TANDEM_PORT_WEB is"):
        Ports.chosen({}, {"TANDEM_PORT_WEB": text})
    with pytest.raises(StackError, match="--port-restate-admin is"):
        Ports.chosen({"port_restate_admin": text}, {})


def test_every_taken_port_is_named_with_its_part_its_holder_and_the_way_out() -> None:
    ports = Ports.free()
    with socket.create_server((HOST, ports.restate_admin)), socket.create_server((HOST, ports.web)):
        with pytest.raises(StackError) as caught:
            ports.check(set(OWNERS.values()))
        # A part that is not started needs no port.
        ports.check({"postgres", "redis"})
    message = str(caught.value)
    assert message.startswith("Nothing was started.")
    assert f"port {ports.restate_admin} for restate_admin (restate) is taken by" in message
    assert f"(process {os.getpid()}): choose another with --port-restate-admin or TANDEM_PORT_RESTATE_ADMIN" in message
    assert f"port {ports.web} for web (web) is taken" in message
    assert f"port {ports.smtp}" not in message


def test_one_port_for_two_parts_is_refused() -> None:
    port = Ports.free().web
    with pytest.raises(StackError, match=f"port {port} is meant for web and for inbox: choose another"):
        Ports(web=port, inbox=port).check({"web", "inbox"})


def test_a_port_that_only_root_may_have_says_why_it_is_not_to_be_had() -> None:
    ports = Ports(web=1)
    if os.geteuid() == 0:
        ports.check({"web"})
    else:
        with pytest.raises(StackError, match="not to be had"):
            ports.check({"web"})


def test_free_ports_differ() -> None:
    ports = Ports.free()
    assert len(set(ports.of(set(OWNERS.values())).values())) == len(OWNERS)
