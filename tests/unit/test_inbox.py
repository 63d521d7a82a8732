"""The inbox over real SMTP and HTTP, in a process of its own."""

import json
import signal
import smtplib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from tandem.embedded.inbox import Behaviour, Store


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    """An inbox process that has said its banner."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port, self.http_port = free_port(), free_port()
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "tandem.embedded.inbox", "--port", str(self.port)]
        command += ["--http-port", str(self.http_port), "--directory", str(self.directory)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        assert "SMTP on" in self.process.stderr.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop(signal.SIGKILL)

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        self.process.send_signal(signal_number)
        _, _ = self.process.communicate(timeout=20)
        return self.process.returncode

    def send(self, recipient: str, message_id: str, subject: str = "Hello") -> None:
        with smtplib.SMTP("127.0.0.1", self.port, local_hostname="test", timeout=20) as client:
            content = f"Message-ID: {message_id}\r\nSubject: {subject}\r\n\r\nText\r\n"
            client.sendmail("sender@example.com", [recipient], content)

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=20) as answer:
            return str(answer.read().decode())

    def messages(self, query: str = "") -> dict[str, Any]:
        return dict(json.loads(self.get(f"/messages.json{query}")))

    def accepted(self, message_id: str) -> int:
        found = [message for message in self.messages()["messages"] if message["message_id"] == message_id]
        return int(found[0]["accepted"]) if found else 0


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("inbox") / "made" / "when missing") as running:
        yield running
        assert running.stop() == 0


@pytest.mark.parametrize(
    ("address", "kind", "number"),
    [
        ("temporary-3@example.com", "temporary", 3),
        ("Slow-2@example.com", "slow", 2),
        ("reject@example.com", "reject", 0),
        ("drop@example.com", "drop", 0),
        ("temporary@example.com", "accept", 0),
        ("temporary-x@example.com", "accept", 0),
        ("rejected@example.com", "accept", 0),
        ("ann", "accept", 0),
    ],
)
def test_an_address_says_what_it_wants(address: str, kind: str, number: int) -> None:
    assert Behaviour.of(address) == Behaviour(kind=kind, number=number)


def test_a_message_sent_twice_is_counted_twice_and_is_one(inbox: Running) -> None:
    before = inbox.messages()
    inbox.send("ann@example.com", "<twice@test>", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=")
    inbox.send("ann@example.com", "<twice@test>")
    after = inbox.messages()
    assert after["accepted"] - before["accepted"] == 2
    assert after["distinct"] - before["distinct"] == 1
    newest = after["messages"][0]
    assert (newest["message_id"], newest["subject"], newest["accepted"]) == ("<twice@test>", "Grüße", 2)
    assert newest["recipients"] == ["ann@example.com"]


def test_temporary_refuses_so_often_for_each_message(inbox: Running) -> None:
    for message_id in ("<first@test>", "<second@test>"):
        for refusal in (1, 2):
            with pytest.raises(smtplib.SMTPDataError, match=f"refusal {refusal} of 2") as refused:
                inbox.send("temporary-2@example.com", message_id)
            assert refused.value.smtp_code == 451
        inbox.send("temporary-2@example.com", message_id)
        assert inbox.accepted(message_id) == 1


def test_temporary_0_refuses_nothing(inbox: Running) -> None:
    inbox.send("temporary-0@example.com", "<never@test>")
    assert inbox.accepted("<never@test>") == 1


def test_reject_says_why_and_keeps_nothing(inbox: Running) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        inbox.send("reject@example.com", "<no@test>")
    code, words = refused.value.recipients["reject@example.com"]
    assert code == 550
    assert b"rejects every message" in words
    assert inbox.accepted("<no@test>") == 0


def test_drop_accepts_but_does_not_say_so_once(inbox: Running) -> None:
    with pytest.raises(smtplib.SMTPServerDisconnected):
        inbox.send("drop@example.com", "<dropped@test>")
    assert inbox.accepted("<dropped@test>") == 1
    inbox.send("drop@example.com", "<dropped@test>")
    assert inbox.accepted("<dropped@test>") == 2


def test_slow_answers_others_meanwhile(inbox: Running) -> None:
    started = time.monotonic()
    inbox.send("slow-1@example.com", "<slow@test>")
    assert time.monotonic() - started >= 1
    assert inbox.accepted("<slow@test>") == 1


def test_a_message_without_an_id_is_known_by_its_content(inbox: Running) -> None:
    before = inbox.messages()
    for _ in range(2):
        with smtplib.SMTP("127.0.0.1", inbox.port, local_hostname="test", timeout=20) as client:
            client.sendmail("sender@example.com", ["ann@example.com"], "Subject: =?nonsense?q?x?=\r\n\r\nNo id\r\n")
    after = inbox.messages()
    assert (after["accepted"] - before["accepted"], after["distinct"] - before["distinct"]) == (2, 1)
    assert after["messages"][0]["subject"] == "=?nonsense?q?x?="


def test_the_page_escapes_what_senders_write(inbox: Running) -> None:
    inbox.send("ann@example.com", "<script@test>", "<script>alert(1)</script>")
    page = inbox.get("/")
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page


def test_one_message_can_be_asked_for(inbox: Running) -> None:
    inbox.send("ann@example.com", "<asked@test>")
    answer = inbox.messages("?message_id=%3Casked%40test%3E&limit=5")
    assert [message["message_id"] for message in answer["messages"]] == ["<asked@test>"]
    assert inbox.messages("?message_id=nobody")["messages"] == []


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/messages.json?limit=0", 400, "limit=0 is not a whole number from 1 to 1000"),
        ("/messages.json?limit=many", 400, "limit=many"),
        ("/elsewhere", 404, "/messages.json"),
    ],
)
def test_a_bad_request_is_told_what_is_right(inbox: Running, path: str, status: int, words: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        inbox.get(path)
    with refused.value as answer:
        assert answer.code == status
        assert words in answer.read().decode()


def test_it_answers_a_probe_and_changes_nothing_over_http(inbox: Running) -> None:
    assert inbox.get("/health") == "ok\n"
    with pytest.raises(urllib.error.HTTPError, match="501") as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{inbox.http_port}/", data=b"x", timeout=20)
    refused.value.close()


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_accepted_survives_a_restart(tmp_path: Path, signal_number: signal.Signals) -> None:
    with Running(tmp_path) as running:
        running.send("ann@example.com", "<kept@test>")
        with pytest.raises(smtplib.SMTPDataError):
            running.send("temporary-1@example.com", "<tried@test>")
        running.stop(signal_number)
        running.start()
        running.send("temporary-1@example.com", "<tried@test>")
        assert running.accepted("<kept@test>") == 1
        assert running.accepted("<tried@test>") == 1
        assert running.stop() == 0


def test_it_stops_at_once_while_a_client_waits(tmp_path: Path) -> None:
    with (
        Running(tmp_path) as running,
        smtplib.SMTP("127.0.0.1", running.port, local_hostname="test", timeout=20) as client,
    ):
        client.ehlo()
        client.mail("sender@example.com")
        client.rcpt("slow-60@example.com")
        client.putcmd("data")
        assert client.getreply()[0] == 354
        client.send(b"Message-ID: <waiting@test>\r\n\r\nText\r\n.\r\n")
        started = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - started < 20
    assert Store(path=tmp_path / "inbox.sqlite3").totals().accepted == 0


def test_a_taken_port_is_named(inbox: Running, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tandem.embedded.inbox", "--port", str(inbox.port)]
    command += ["--http-port", str(free_port()), "--directory", str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert finished.returncode == 1
    assert str(inbox.port) in finished.stderr
    assert "--port" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_wrong_port_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tandem.embedded.inbox", "--port", "70000", "--directory", str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert finished.returncode == 2
    assert "'70000' is no port" in finished.stderr
