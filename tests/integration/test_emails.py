"""The showcase as its users meet it: pages over HTTP, mail over SMTP, workers of both engines, a ledger to look into."""

import http.cookiejar
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tandem.embedded.ports import Ports
from tandem.embedded.stack import Stack
from tests.integration.waiting import until

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 20


@dataclass(frozen=True, kw_only=True)
class Page:
    """An answer of the site."""

    status: int
    url: str
    text: str

    @property
    def phase(self) -> str:
        """The phase that an execution's page shows."""
        found = re.search(r'class="phase (\w+)"', self.text)
        return found[1] if found else ""

    @property
    def words(self) -> str:
        """What a person reads."""
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", self.text)).split())

    @property
    def steps(self) -> list[str]:
        """The names of the finished steps."""
        return re.findall(r'<th scope="row">([^<]*)</th>', self.text)


class Site:
    """A browser without scripts, and what the servers behind the site know."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.address = f"http://127.0.0.1:{stack.ports.web}"
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies)

    def open(self, path: str, content: bytes | None = None, headers: Mapping[str, str] | None = None) -> Page:
        request = urllib.request.Request(urllib.parse.urljoin(self.address, path), content, dict(headers or {}))
        try:
            with self._opener.open(request, timeout=SECONDS) as answer:
                return Page(status=answer.status, url=answer.url, text=answer.read().decode())
        except urllib.error.HTTPError as answer:
            with answer:
                return Page(status=answer.code, url=answer.url, text=answer.read().decode())

    def post(self, path: str, fields: Mapping[str, str], file: tuple[str, bytes] | None = None) -> Page:
        """Post a form as a browser does, with the token of a page that was opened before."""
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.open("/emails/").text)
        assert found is not None
        boundary = uuid.uuid4().hex
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in {**fields, "csrfmiddlewaretoken": found[1]}.items()
        ]
        if file is not None:
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{file[0]}"; filename="people.csv"\r\n'
            parts.append(f"{head}Content-Type: text/csv\r\n\r\n".encode() + file[1] + b"\r\n")
        content = b"".join(parts) + f"--{boundary}--\r\n".encode()
        return self.open(path, content, {"Content-Type": f"multipart/form-data; boundary={boundary}"})

    def send(self, recipient: str, engine: str, **fields: str) -> Page:
        """Send one email from the page; answers the page of its execution."""
        values = {"recipient": recipient, "subject": "Hello", "body": "Text", "engine": engine, **fields}
        return self.post("/emails/", {f"one-{name}": value for name, value in values.items()})

    def finished(self, page: Page) -> Page:
        """Open an execution's page until it is over."""

        def over() -> Page | None:
            now = self.open(page.url)
            return now if "data-over" in now.text else None

        found = until(over, f"{page.url} is not over")
        assert found is not None
        return found

    def accepted(self, page: Page) -> int:
        """How often the inbox accepted the message of an execution."""
        with self.ledger() as ledger:
            row = ledger.execute(
                "SELECT result ->> 'message_id' FROM tandem_step WHERE execution_id = %s AND name = 'compose'",
                [execution_id(page)],
            ).fetchone()
        assert row is not None
        messages = self.inbox(message_id=row[0])["messages"]
        return int(messages[0]["accepted"]) if messages else 0

    def inbox(self, **query: str) -> dict[str, Any]:
        url = f"{self.stack.addresses['TANDEM_INBOX_URL']}messages.json?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:
            return dict(json.load(answer))

    def ledger(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.stack.addresses["DATABASE_URL"])


def execution_id(page: Page) -> str:
    return page.url.rstrip("/").rpartition("/")[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    stack = Stack(
        data=tmp_path_factory.mktemp("showcase"),
        ports=Ports.free(),
        directory=ROOT,
        wsgi="showcase.wsgi:application",
        environment={"DJANGO_SETTINGS_MODULE": "showcase.settings", "PYTHONPATH": os.fspath(ROOT / "src")},
    )
    with stack:
        yield Site(stack)


def test_an_email_is_sent_from_the_page_and_watched_there(site: Site, engine: str) -> None:
    page = site.finished(site.send("ann@example.com", engine))
    assert page.phase == "succeeded"
    assert page.steps == ["compose", "deliver", "record"]
    assert f"on {engine.title()} , because: using(engine=)" in page.words
    assert "100 % recorded" in page.words
    assert "'code': 250" in page.words
    assert site.accepted(page) == 1
    assert site.open("/emails/recent").text.count(execution_id(page)) == 1


def test_a_4xx_is_retried_and_the_page_says_so(site: Site, engine: str) -> None:
    page = site.finished(site.send("temporary-1@example.com", engine))
    assert page.phase == "succeeded"
    assert "The mail server asks to try again later: 451" in page.words
    assert "Attempt 2" in page.words
    assert site.accepted(page) == 1


def test_a_5xx_fails_at_once_and_says_why_on_either_engine(site: Site, engine: str) -> None:
    page = site.finished(site.send("reject@example.com", engine))
    assert page.phase == "failed"
    assert "The mail server refused the message: 550 5.1.1" in page.words
    assert "Attempt 1" in page.words
    assert page.steps == ["compose"]
    other = "celery" if engine == "restate" else "restate"
    again = site.finished(site.post(f"/emails/{execution_id(page)}/retry", {"engine": other}))
    assert again.phase == "failed"
    assert f"on {other.title()}" in again.words
    assert again.words.count("550 5.1.1") == 2
    assert site.accepted(again) == 0


def test_in_the_window_before_the_answer_the_same_message_id_goes_out_again(site: Site, engine: str) -> None:
    page = site.finished(site.send("drop@example.com", engine))
    assert page.phase == "succeeded"
    assert "closed the connection before it answered" in page.words
    assert site.accepted(page) == 2


def test_a_recorded_acceptance_is_never_sent_again(site: Site, engine: str) -> None:
    with site.ledger() as lock:
        # The step after the delivery waits here, until its connection is cut.
        lock.execute("LOCK TABLE emails_delivery IN ACCESS EXCLUSIVE MODE")
        page = site.send("ann@example.com", engine)
        until(lambda: site.open(page.url).steps == ["compose", "deliver"], "the acceptance is not recorded")
        waiting = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND query LIKE '%%emails_delivery%%' AND pid <> pg_backend_pid()"
        )
        with site.ledger() as other:
            until(lambda: other.execute(waiting).fetchall(), "nothing waits to record the delivery")
    page = site.finished(page)
    assert page.phase == "succeeded"
    assert page.steps == ["compose", "deliver", "record"]
    assert "Attempt 2" in page.words
    assert site.accepted(page) == 1


def test_a_form_sent_twice_sends_one_email(site: Site, engine: str) -> None:
    token = str(uuid.uuid4())
    first, second = (site.send("ann@example.com", engine, token=token) for _ in range(2))
    assert first.url == second.url
    assert site.accepted(site.finished(first)) == 1


def test_many_are_sent_from_a_file_and_bad_rows_are_reported(site: Site, engine: str) -> None:
    before = site.inbox()
    rows = "".join(f"person{number}@example.com,Person {number}\n" for number in range(25))
    fields = {"many-subject": "Dear {name}", "many-body": "Text", "many-engine": engine}
    page = site.post("/emails/bulk", fields, ("many-file", f"email,name\n{rows}nobody,Bob\n".encode()))
    assert page.status == 200
    assert "Line 27: 'nobody' is no email address." in page.words
    page = site.finished(page)
    assert "Succeeded 25" in page.words
    after = site.inbox(limit="25")
    assert after["distinct"] - before["distinct"] == after["accepted"] - before["accepted"] == 25
    assert {message["subject"] for message in after["messages"]} == {f"Dear Person {number}" for number in range(25)}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"address\nann@example.com\n", "must name the columns email and name, but it has: address."),
        (b"email\nnobody\n", "No row can be sent. Line 2: 'nobody' is no email address."),
        (b"", "The submitted file is empty."),
    ],
)
def test_a_bad_file_is_an_error_of_the_form_and_sends_nothing(site: Site, content: bytes, words: str) -> None:
    with site.ledger() as ledger:
        (before,) = ledger.execute("SELECT count(*) FROM tandem_execution").fetchone() or (0,)
        page = site.post("/emails/bulk", {"many-subject": "Hello", "many-body": "Text"}, ("many-file", content))
        assert page.status == 422
        assert words in page.words
        ledger.rollback()
        assert ledger.execute("SELECT count(*) FROM tandem_execution").fetchone() == (before,)


def test_an_email_is_cancelled_from_the_page(site: Site, engine: str) -> None:
    page = site.send("temporary-50@example.com", engine)
    until(lambda: "451" in site.open(page.url).words, "the first refusal is not shown")
    site.post(f"/emails/{execution_id(page)}/cancel", {})
    page = site.finished(page)
    assert page.phase == "cancelled"
    assert "Cancelled by the page" in page.words
    assert site.accepted(page) == 0


def test_any_program_may_call_the_task_through_the_ingress(site: Site) -> None:
    answer = call(site, {"recipient": "outside@example.com", "subject": "Hello", "body": "Text"})
    assert answer.status == 200
    result = json.loads(answer.text)
    assert result["code"] == 250
    assert site.inbox(message_id=result["message_id"])["messages"][0]["accepted"] == 1
    with site.ledger() as ledger:
        rows = ledger.execute(
            "SELECT reason, phase FROM tandem_execution WHERE result ->> 'message_id' = %s", [result["message_id"]]
        ).fetchall()
    assert rows == [("ingress", "succeeded")]


def test_a_call_from_outside_with_a_wrong_argument_is_told_which(site: Site) -> None:
    answer = call(site, {"recipient": "nobody", "subject": "Hello", "body": "Text"})
    assert answer.status >= 400
    assert "'nobody' is no email address" in answer.text


def call(site: Site, arguments: Mapping[str, str]) -> Page:
    url = f"{site.stack.addresses['TANDEM_RESTATE_INGRESS_URL']}/EmailService/send_email"
    return site.open(url, json.dumps(arguments).encode(), {"Content-Type": "application/json"})


def test_without_the_forms_token_nothing_is_taken(site: Site) -> None:
    assert site.open("/emails/", b"one-recipient=ann@example.com").status == 403


def test_a_page_that_is_not_there_says_so(site: Site) -> None:
    page = site.open(f"/emails/{uuid.uuid4()}/")
    assert page.status == 404
    assert "it was never committed, or it was pruned" in page.words
