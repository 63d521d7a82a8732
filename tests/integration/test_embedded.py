"""The stack's real servers under everything that may happen to them, and `manage.py tandem up` as a person meets it."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis

from tandem.embedded.exceptions import StackError
from tandem.embedded.ports import HOST, Ports
from tandem.embedded.stack import Stack

PATIENCE = 60.0
SERVERS = ("postgres", "redis", "restate", "inbox")
UP = """
import argparse, sys
from django.conf import settings
settings.configure()
from tandem.exceptions import TandemError
from tandem.management import up
parser = argparse.ArgumentParser()
up.add_arguments(parser)
try:
    up.handle(vars(parser.parse_args()))
except TandemError as error:
    sys.exit(f"CommandError: {error}")
"""


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"Waited in vain: {what}"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def query(addresses: Mapping[str, str], statement: str) -> list[Any]:
    with psycopg.connect(addresses["DATABASE_URL"], autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def restate_answers(addresses: Mapping[str, str]) -> Any:
    request = urllib.request.Request(
        addresses["TANDEM_RESTATE_ADMIN_URL"] + "/query",
        json.dumps({"query": "select count(*) as found from sys_invocation"}).encode(),
        {"Content-Type": "application/json", "Accept": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["rows"]
    except urllib.error.HTTPError as error:
        return error.read().decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that only its owner may enter, as `mktemp -d` makes it."""
    path = tmp_path_factory.mktemp("private", numbered=False)
    path.chmod(0o700)
    return path


@pytest.fixture(scope="module")
def stack(folder: Path) -> Iterator[Stack]:
    with Stack(data=folder / "data", ports=Ports.free(), only=SERVERS) as stack:
        yield stack


def test_postgres_is_durable_and_local(stack: Stack) -> None:
    settings = {
        name: query(stack.addresses, f"SHOW {name}")[0][0]
        for name in ("fsync", "synchronous_commit", "listen_addresses", "server_encoding", "timezone")
    }
    assert settings == {
        "fsync": "on",
        "synchronous_commit": "on",
        "listen_addresses": HOST,
        "server_encoding": "UTF8",
        "timezone": "UTC",
    }


def test_redis_never_throws_messages_away(stack: Stack) -> None:
    with redis.Redis.from_url(stack.addresses["TANDEM_BROKER_URL"]) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("bind") == {"bind": HOST}


def test_restate_signs_its_requests(stack: Stack) -> None:
    assert re.fullmatch(r"publickeyv1_\w{40,50}", stack.addresses["TANDEM_RESTATE_IDENTITY_KEYS"])
    assert restate_answers(stack.addresses) == [{"found": 0}]


def test_the_inbox_greets(stack: Stack) -> None:
    with urllib.request.urlopen(stack.addresses["TANDEM_INBOX_URL"], timeout=10) as answer:
        assert answer.status == 200
    with socket.create_connection((stack.addresses["EMAIL_HOST"], int(stack.addresses["EMAIL_PORT"])), 10) as smtp:
        assert smtp.recv(64).startswith(b"220 ")


def test_nothing_listens_beyond_this_machine(stack: Stack) -> None:
    addresses = {
        connection.laddr[0]
        for part in stack.parts
        for pid in stack.pids(part)
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {HOST}


def test_the_servers_are_small(stack: Stack) -> None:
    rss = stack.rss()
    assert set(rss) == {"tandem", *SERVERS}
    assert all(rss.values())
    # The budget of the whole idle stack is 1.2 GB; this leaves two thirds to the web, the worker, service and relay.
    assert sum(rss[part] for part in SERVERS) < 450_000_000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL gives up rights")
def test_roots_postgres_runs_as_nobody_without_opening_any_folder(stack: Stack, folder: Path) -> None:
    assert psutil.Process(stack.pids("postgres")[0]).username() == "nobody"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder.stat().st_uid, (folder / "data").stat().st_uid) == (0, 0)
    assert stat.S_IMODE((folder / "data" / "postgres").stat().st_mode) == 0o700
    effective = re.search(r"CapEff:\s*(\w+)", Path(f"/proc/{stack.pids('postgres')[0]}/status").read_text())
    assert effective is not None
    assert int(effective.group(1), 16).bit_count() <= 1


@pytest.mark.parametrize("part", SERVERS)
def test_a_killed_server_comes_back_with_what_was_committed(stack: Stack, part: str) -> None:
    query(stack.addresses, "CREATE TABLE IF NOT EXISTS kept (part text)")
    query(stack.addresses, f"INSERT INTO kept VALUES ('{part}')")
    (before, *children), restarts = stack.pids(part), stack.restarts(part)
    stack.kill(part)
    until(lambda: stack.restarts(part) > restarts and stack.is_ready(part), f"{part} again")
    assert not [pid for pid in (before, *children) if lives(pid)]
    assert (part,) in query(stack.addresses, "SELECT part FROM kept")
    # A Restate that was killed may still refuse a query after it has answered one, and says so: "node N1:3 was shut down
    # or removed" is itself as it was before.
    until(lambda: restate_answers(stack.addresses) == [{"found": 0}], "Restate asks no process of before")


def test_a_taken_port_is_told_before_anything_starts(stack: Stack, folder: Path) -> None:
    taken = stack.ports.restate_admin
    other = Stack(data=folder / "other", ports=Ports(redis=Ports.free().redis, restate_admin=taken), only=SERVERS[1:3])
    with pytest.raises(
        StackError, match=rf"port {taken} for restate_admin .*restate-server \(process {stack.pids('restate')[0]}\)"
    ):
        other.start()
    assert not (folder / "other" / "redis").exists()
    assert [path.name for path in (folder / "other").iterdir() if path.name not in ("lock", "logs")] == []


def test_unknown_parts_are_refused(folder: Path) -> None:
    with pytest.raises(StackError, match="cannot be made of webb: choose from postgres"):
        Stack(data=folder, only=["webb", "redis"])
    with pytest.raises(StackError, match="cannot be made of nothing"):
        Stack(data=folder, only=[])


def test_data_of_another_postgres_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("9\n")
    stack = Stack(data=tmp_path, ports=Ports.free(), only=["postgres"])
    with pytest.raises(StackError, match="was made by PostgreSQL 9, but"), stack:
        pass
    assert [path.name for path in (tmp_path / "postgres").iterdir()] == ["PG_VERSION"]


def up(data: Path, ports: Ports, *, parts: str = "postgres,redis,restate") -> subprocess.Popen[str]:
    environment = os.environ | {
        f"TANDEM_PORT_{name.upper()}": str(port) for name, port in ports.of({*SERVERS, "web", "service"}).items()
    }
    return subprocess.Popen(
        [sys.executable, "-u", "-c", UP, "--data", str(data), "--only", parts],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def read_until(running: subprocess.Popen[str], text: str) -> str:
    lines = []
    assert running.stdout is not None
    for line in running.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"{text!r} did not come:\n{''.join(lines)}")


def family(running: subprocess.Popen[str]) -> list[int]:
    return [child.pid for child in psutil.Process(running.pid).children(recursive=True)]


def test_up_ctrl_c_and_up_again_resumes(tmp_path: Path) -> None:
    keys = []
    for run in range(2):
        ports = Ports.free()
        with up(tmp_path, ports) as running:
            shown = read_until(running, "data:")
            assert re.search(r"tandem \| ready in \d+\.\d s, \d+ MiB resident", shown)
            assert f"http://{HOST}:{ports.restate_admin}/ui/" in shown
            addresses = {"DATABASE_URL": f"postgresql://tandem@{HOST}:{ports.postgres}/tandem"}
            if run == 0:
                query(addresses, "CREATE TABLE kept AS SELECT 42 AS answer")
            assert query(addresses, "SELECT answer FROM kept") == [(42,)]
            keys += re.findall(r"publickeyv1_\w+", (tmp_path / "logs" / "restate.log").read_text())
            pids = family(running)
            assert len(pids) >= 4
            running.send_signal(signal.SIGINT)
            rest = running.communicate(timeout=PATIENCE)[0]
        assert running.returncode == 0
        assert "SIGINT: stopping" in rest
        assert not [pid for pid in pids if lives(pid)]
    assert len(set(keys)) == 1


def test_up_killed_and_up_again(tmp_path: Path) -> None:
    ports = Ports.free()
    with up(tmp_path, ports) as running:
        read_until(running, "data:")
        pids = family(running)
        running.kill()
    # The same ports, at once: the lock waits for what the first one left.
    with up(tmp_path, ports) as running:
        read_until(running, "data:")
        assert not [pid for pid in pids if lives(pid)]
        running.terminate()
        running.communicate(timeout=PATIENCE)
    assert running.returncode == 0


def test_a_second_ctrl_c_hurries(tmp_path: Path) -> None:
    ports = Ports.free()
    with up(tmp_path, ports, parts="postgres,redis") as running:
        read_until(running, "data:")
        pids = family(running)
        # Stopped processes heed nothing but SIGKILL.
        redis_pid = next(pid for pid in pids if ports.redis in _listening(pid))
        os.kill(redis_pid, signal.SIGSTOP)
        running.send_signal(signal.SIGINT)
        read_until(running, "SIGINT: stopping")

        def again() -> bool:
            # More than once: at once it would be taken for the same Ctrl-C, passed on twice.
            running.send_signal(signal.SIGINT)
            return not lives(redis_pid)

        began = time.monotonic()
        until(again, "the server's end")
        running.communicate(timeout=PATIENCE)
    assert running.returncode == 0
    assert time.monotonic() - began < 15.0  # The grace time, which was not waited for.
    assert not [pid for pid in pids if lives(pid)]


def _listening(pid: int) -> set[int]:
    connections = psutil.Process(pid).net_connections("inet") if lives(pid) else []
    return {connection.laddr[1] for connection in connections if connection.status == psutil.CONN_LISTEN}


def test_up_says_what_is_wrong_and_exits(tmp_path: Path) -> None:
    ports = Ports.free()
    with socket.create_server((HOST, ports.redis)), up(tmp_path, ports) as running:
        shown = running.communicate(timeout=PATIENCE)[0]
    assert running.returncode == 1
    assert f"CommandError: Nothing was started. port {ports.redis} for redis (redis) is taken by" in shown
    assert "--port-redis or TANDEM_PORT_REDIS" in shown
