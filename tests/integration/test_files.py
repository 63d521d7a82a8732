"""The files workload as its users meet it: a CSV goes in, a report comes out, whatever is killed on the way."""

import csv
import io
import json
import os
import re
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from showcase.data import expected_path, make_orders, samples
from tests.integration.holding import holding
from tests.integration.site import PAGE_SECONDS, Page, Site
from tests.integration.waiting import until

WAYS = ["celery", "restate", "chain"]
DURABLE = ["celery", "restate"]
FILES = ("rejects.csv", "cleaned.parquet", "chart.png")
HEADER = b"order_id,ordered_on,customer,email,country,product,quantity,unit_price,note\n"
ROW = b"%d,2024-05-06,Ann,ann@example.com,DE,Pen,2,1.50,\n"


@pytest.fixture
def visitor(site: Site) -> Site:
    return site.visitor()


def send(visitor: Site, content: bytes, way: str, *, name: str = "orders.csv", token: str = "") -> Page:
    fields = {"engine": way, "token": token or str(uuid.uuid4())}
    return visitor.post("/files/", fields, ("file", content), name=name)


def pk_of(page: Page) -> str:
    return page.url.partition("?")[0].rstrip("/").rpartition("/")[2]


def reported(visitor: Site, page: Page) -> Page:
    """Open the job's page until its report is there and nothing is left to do."""

    def there() -> Page | None:
        now = visitor.open(page.url)
        assert now.phase not in {"failed", "dead", "cancelled"}, now.words
        return now if "The cleaned rows" in now.text and "data-over" in now.text else None

    found = until(there, f"{page.url} has no report", every=PAGE_SECONDS)
    assert found is not None
    return found


def fetch(visitor: Site, page: Page, name: str) -> bytes:
    answer = visitor.open(f"{page.url.partition('?')[0]}{name}")
    assert answer.status == 200, answer.words
    return answer.content


def number(page: Page, label: str) -> int:
    found = re.search(rf"\b{label} ([\d,]+)", page.words)
    assert found is not None, page.words
    return int(found[1].replace(",", ""))


@contextmanager
def held(visitor: Site, content: bytes, way: str, step: str) -> Iterator[tuple[Page, int]]:
    """Send a file and keep one of its steps from ending; gives the job's page, and the process that runs the step."""
    token = str(uuid.uuid4())
    with holding(visitor, token, step) as process:
        yield send(visitor, content, way, token=token), process()


@contextmanager
def held_publishing(visitor: Site, content: bytes, way: str) -> Iterator[tuple[Page, int]]:
    """As `held`, of the step that puts the report on its page in its own transaction."""
    waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE \"files_job\"%'"
    with visitor.ledger() as lock, visitor.ledger() as ledger:
        with held(visitor, content, way, "report") as (page, process):
            # Runs of steps, which refer to the row, may go on.
            lock.execute("SELECT FROM files_job WHERE id = %s FOR NO KEY UPDATE", [pk_of(page)])
        # A transaction sees one state of pg_stat_activity.
        ledger.autocommit = True
        until(lambda: ledger.execute(waiting).fetchall(), "nothing waits to publish")
        yield page, process


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["orders-small.csv", "orders-latin.csv"])
def test_the_report_says_what_is_in_the_file(visitor: Site, way: str, name: str) -> None:
    source = samples()[name]
    expected = json.loads(expected_path(source).read_text(encoding="utf-8"))
    page = reported(visitor, send(visitor, source.read_bytes(), way, name=name))

    rejects = list(csv.DictReader(io.StringIO(fetch(visitor, page, "rejects.csv").decode())))
    cleaned = pl.read_parquet(fetch(visitor, page, "cleaned.parquet"))
    assert fetch(visitor, page, "chart.png").startswith(b"\x89PNG")

    counts = {label: number(page, label) for label in ("Rows", "Accepted", "Rejected")}
    assert counts == {"Rows": expected["rows"], "Accepted": len(cleaned), "Rejected": len(rejects)}
    assert len(cleaned) + len(rejects) == expected["rows"]
    listed = [(row["line"], row["kind"]) for row in expected["lines"]["rejected"]]
    assert [(int(row["line"]), row["kind"]) for row in rejects] == listed
    assert {kind: number(page, re.escape(kind)) for kind in expected["kinds"]} == expected["kinds"]
    revenue = expected["revenue_cents"]
    assert f"Revenue {revenue // 100:,}.{revenue % 100:02}" in page.words
    assert number(page, "Orders") == expected["orders"]


@pytest.mark.parametrize("way", WAYS)
def test_the_report_is_announced_by_email_once(visitor: Site, way: str) -> None:
    page = reported(visitor, send(visitor, HEADER + ROW % 1 + b"\n", way))

    def told() -> list[dict[str, Any]]:
        messages = visitor.inbox(limit="100")["messages"]
        return [message for message in messages if f"{visitor.name}@example.com" in json.dumps(message)]

    (message,) = until(told, "no email came")
    assert message["accepted"] == 1
    assert message["subject"] == "Report on orders.csv"
    assert page.url.startswith(visitor.stack.addresses["TANDEM_SITE_URL"])


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("orders") / "large.csv"
    make_orders(path, rows=30_000, seed=5)
    return path.read_bytes()


@pytest.mark.parametrize("way", DURABLE)
def test_killed_in_any_step_the_report_is_the_same_byte_for_byte(site: Site, large: bytes, way: str) -> None:
    whole = site.visitor()
    undisturbed = reported(whole, send(whole, large, way))
    expected = {name: fetch(whole, undisturbed, name) for name in FILES}
    for step in ("validate", "process", "report", "publish"):
        visitor = site.visitor()
        publishing = step == "publish"
        hold = held_publishing(visitor, large, way) if publishing else held(visitor, large, way, step)
        with hold as (page, process):
            os.kill(process, signal.SIGKILL)
        page = reported(visitor, page)
        assert {name: fetch(visitor, page, name) for name in FILES} == expected
        started = {other: number(page, other) for other in ("validate", "process", "report")}
        assert started == {other: 1 + (other == step) for other in started}


def test_a_chain_that_is_killed_in_its_third_step_stops_there(visitor: Site) -> None:
    with held(visitor, HEADER + ROW % 1 + b"\n", "chain", "report") as (page, process):
        os.kill(process, signal.SIGKILL)
    # What is sent afterwards runs to its end beside it.
    reported(visitor, send(visitor, HEADER + ROW % 2 + b"\n", "chain"))
    reported(visitor, send(visitor, HEADER + ROW % 3 + b"\n", "celery"))
    page = visitor.open(page.url)
    assert "it looks just like this, for ever" in page.words
    assert number(page, "report") == 1
    assert "The cleaned rows" not in page.text


REFUSED: list[tuple[str, bytes, str]] = [
    ("photo.csv", b"\x89PNG\r\n\x1a\n" + bytes(500), "PNG"),
    ("bomb.csv", b"PK\x03\x04" + bytes(5000), "ZIP"),
    ("nul.csv", HEADER + b"1,2024-05-06,A\x00nn,,DE,Pen,2,1.50,\n", "binary"),
    (
        "wrong.csv",
        HEADER + ROW % 1 + b"2,2024-05-06,\x81\x8d\xff,,DE,Pen,2,1.50,\n",
        "is not UTF-8 or Windows-1252 text",
    ),
    ("wide.csv", b",".join(b"c%d" % column for column in range(1_000_000)) + b"\n", "columns"),
    ("other.csv", b"name,age\nAnn,3\n", "order_id"),
]


@pytest.mark.parametrize(("name", "content", "words"), REFUSED, ids=[name for name, _, _ in REFUSED])
@pytest.mark.parametrize("way", DURABLE)
def test_what_is_no_file_of_orders_is_refused_in_plain_words(
    visitor: Site, way: str, name: str, content: bytes, words: str
) -> None:
    page = send(visitor, content, way, name=name)
    page = visitor.finished(page)
    assert page.phase == "failed"
    assert name in page.words
    assert words.lower() in page.words.lower()
    assert "Traceback" not in page.text
    assert 'File "' not in page.text
    assert "Attempt 1" in page.words


def test_ragged_rows_and_huge_fields_are_rows_that_are_reported(visitor: Site, engine: str) -> None:
    bad = b"2,2024-05-06,Ann\n" + b'3,2024-05-06,Ann,,DE,Pen,2,1.50,"' + b"x" * 200_000 + b'"\n'
    page = reported(visitor, send(visitor, HEADER + ROW % 1 + bad + ROW % 4, engine))
    assert [number(page, label) for label in ("Rows", "Accepted", "Rejected")] == [4, 2, 2]
    assert [number(page, "fields"), number(page, "huge field")] == [1, 1]


def test_an_empty_file_and_one_that_is_too_large_are_errors_of_the_form(visitor: Site) -> None:
    page = send(visitor, b"", "celery")
    assert (page.status, "The submitted file is empty." in page.words) == (422, True)
    page = send(visitor, HEADER + b"x" * 20_000_000, "celery", name="vast.csv")
    assert (page.status, "vast.csv is larger than" in page.words) == (422, True)


def test_the_same_file_twice_is_one_job(visitor: Site, engine: str) -> None:
    content = HEADER + ROW % 1 + b"\n"
    first = reported(visitor, send(visitor, content, engine))
    second = send(visitor, content, engine, name="copy.csv")
    assert second.url == f"{first.url}?again=1"
    assert "You sent this file before" in second.words
    # By another way it is another job, and so it is after it came to nothing.
    assert send(visitor, content, "chain").url != first.url
    bad = [visitor.finished(send(visitor, b"no,orders\n", engine)).url for _ in range(2)]
    assert bad[0] != bad[1]


def test_a_form_sent_twice_starts_one_job(visitor: Site) -> None:
    token = str(uuid.uuid4())
    pages = [send(visitor, HEADER + ROW % row, "celery", token=token) for row in (1, 2)]
    assert {page.url.partition("?")[0] for page in pages} == {pages[0].url}


@pytest.mark.parametrize("way", DURABLE)
def test_a_file_that_is_gone_from_the_storage_in_the_middle(visitor: Site, large: bytes, way: str) -> None:
    # What the first step kept is taken away before the second can read it again.
    with held(visitor, large, way, "process") as (page, process):
        for file in (visitor.stack.data / "files" / pk_of(page)).iterdir():
            file.unlink()
        os.kill(process, signal.SIGKILL)
    page = visitor.finished(page)
    assert page.phase == "failed"
    assert "is not there any more: upload the file again." in page.words
    assert "Traceback" not in page.text


@pytest.mark.parametrize("way", DURABLE)
def test_a_file_that_its_owner_deletes_in_the_middle(visitor: Site, large: bytes, way: str) -> None:
    with held(visitor, large, way, "validate") as (page, process):
        token = re.search(r"executions/([\w-]+)/cancel", visitor.open(page.url).text)
        assert token is not None
        os.kill(process, signal.SIGSTOP)
    gone = visitor.post(f"{page.url}delete", {})
    assert gone.url.endswith("/files/")
    assert visitor.open(page.url).status == 404
    os.kill(process, signal.SIGCONT)
    execution = visitor.finished(visitor.open(f"/executions/{token[1]}/"))
    # It had not opened the file yet, or it learns of the cancel.
    assert execution.phase in {"failed", "cancelled"}, execution.words
    assert "Cancelled by the owner, who deleted the file" in execution.words
    assert "Traceback" not in execution.text
    until(lambda: not (visitor.stack.data / "files" / pk_of(page)).exists(), "its files are still there")


def test_uploads_are_private_to_their_user(site: Site, visitor: Site, engine: str) -> None:
    page = reported(visitor, send(visitor, HEADER + ROW % 1 + b"\n", engine))
    execution = re.search(r"executions/([\w-]+)/", page.text + visitor.open("/executions/").text)
    assert execution is not None
    urls = [page.url, *(f"{page.url}{name}" for name in FILES), f"/executions/{execution[1]}/"]
    assert [visitor.open(url).status for url in urls] == [200] * len(urls)
    assert [site.visitor().open(url).status for url in urls] == [404] * len(urls)
    stranger = Site(site.stack)
    assert "Sign in" in stranger.open(page.url).words
    assert "Sign in" in stranger.open(urls[-1]).words
    assert execution[1] not in stranger.open("/executions/").text
    assert site.visitor().post(f"{page.url}delete", {}).status == 404
    assert visitor.open(page.url).status == 200


NAMES = ["../../../etc/passwd.csv", "..\\..\\windows.csv", "/etc/passwd", "ä b%2e%2e.csv", "x" * 300 + ".csv"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_name_is_never_a_path(visitor: Site, name: str) -> None:
    before: Callable[[], set[Path]] = partial(_files_outside, visitor.stack.data)
    outside = before()
    page = reported(visitor, send(visitor, HEADER + ROW % 1 + b"\n", "celery", name=name))
    assert "/etc" not in page.words
    assert before() == outside


def _files_outside(data: Path) -> set[Path]:
    """What is kept outside the folder of the storage, and in it under a name that is no UUID."""
    kept = data / "files"
    inside = {path for path in kept.rglob("*") if not re.fullmatch(r"[0-9a-f-]{36}(\.\w+)?", path.name)}
    return inside | {path for path in data.parent.iterdir() if path != data}
