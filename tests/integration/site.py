"""The showcase as its visitors meet it: pages over HTTP, and what the servers behind them know."""

import http.cookiejar
import json
import re
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import unescape
from typing import Any, Self

import psycopg

from tandem.embedded.stack import Stack
from tests.integration.waiting import until

SECONDS = 60
# Making a page costs the two cores more than looking into a row.
PAGE_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Page:
    """An answer of the site."""

    status: int
    url: str
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.content.decode()

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
        self.name = ""
        self.address = f"http://127.0.0.1:{stack.ports.web}"
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies)

    def open(self, path: str, content: bytes | None = None, headers: Mapping[str, str] | None = None) -> Page:
        request = urllib.request.Request(urllib.parse.urljoin(self.address, path), content, dict(headers or {}))
        try:
            with self._opener.open(request, timeout=SECONDS) as answer:
                return Page(status=answer.status, url=answer.url, content=answer.read(), headers=dict(answer.headers))
        except urllib.error.HTTPError as answer:
            with answer:
                return Page(status=answer.code, url=answer.url, content=answer.read(), headers=dict(answer.headers))

    def post(
        self, path: str, fields: Mapping[str, str], file: tuple[str, bytes] | None = None, *, name: str = "people.csv"
    ) -> Page:
        """Post a form as a browser does, with the token of a page that was opened before."""
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.open("/emails/").text)
        assert found is not None
        boundary = uuid.uuid4().hex
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
            for key, value in {**fields, "csrfmiddlewaretoken": found[1]}.items()
        ]
        if file is not None:
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{file[0]}"; filename="{name}"\r\n'
            parts.append(f"{head}Content-Type: text/csv\r\n\r\n".encode() + file[1] + b"\r\n")
        content = b"".join(parts) + f"--{boundary}--\r\n".encode()
        return self.open(path, content, {"Content-Type": f"multipart/form-data; boundary={boundary}"})

    def send(self, recipient: str, engine: str, **fields: str) -> Page:
        """Send one email from the page; answers the page of its execution."""
        values = {"recipient": recipient, "subject": "Hello", "body": "Text", "engine": engine, **fields}
        return self.post("/emails/", {f"one-{name}": value for name, value in values.items()})

    def visitor(self) -> Self:
        """Somebody else, with an account of their own."""
        other = type(self)(self.stack)
        name = f"visitor-{uuid.uuid4().hex[:12]}"
        password = uuid.uuid4().hex
        fields = {"username": name, "email": f"{name}@example.com", "password1": password, "password2": password}
        page = other.post("/accounts/create", fields)
        assert (page.status, f"{name} Sign out" in page.words) == (200, True), page.words
        other.name = name
        return other

    def finished(self, page: Page) -> Page:
        """Open an execution's page until it is over."""

        def over() -> Page | None:
            now = self.open(page.url)
            return now if "data-over" in now.text else None

        found = until(over, f"{page.url} is not over", every=PAGE_SECONDS)
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
