"""The analysis workload as its users meet it: a data set goes in, its description comes out, column by column."""

import io
import json
import os
import re
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl
import pytest

from showcase.data import expected_path, samples
from tests.integration.holding import holding
from tests.integration.site import Page, Site
from tests.integration.waiting import until

SMALL = b"a,b,c\n1,2.5,x\n2,3.5,y\n3,5.0,x\n4,NA,y\n"
PICTURES = ("column-1.png", "column-2.png", "column-3.png", "correlations.png", "scatter.png")


@pytest.fixture
def visitor(site: Site) -> Site:
    return site.visitor()


def send(
    visitor: Site, content: bytes, engine: str, *, name: str = "data.csv", sample: str = "", token: str = ""
) -> Page:
    fields = {"engine": engine, "sample": sample, "token": token or str(uuid.uuid4())}
    return visitor.post("/analysis/", fields, ("file", content), name=name)


def pk_of(page: Page) -> str:
    return page.url.partition("?")[0].rstrip("/").rpartition("/")[2]


def described(visitor: Site, page: Page) -> Page:
    """Open the page until all is described."""
    assert page.status == 200, page.words
    page = visitor.finished(page)
    assert "All that was found" in page.words, page.words
    return page


def findings(visitor: Site, page: Page) -> dict[str, Any]:
    answer = visitor.open(f"{page.url.partition('?')[0]}findings.json")
    assert answer.status == 200
    return dict(json.loads(answer.text))


def comparable(found: dict[str, Any]) -> dict[str, Any]:
    """Findings without the names of files, which are new each time."""
    prepared = {name: value for name, value in found["prepared"].items() if name != "file"}
    columns = [{name: value for name, value in each.items() if name != "picture"} for each in found["columns"]]
    return {**found, "prepared": prepared, "columns": columns, "pictures": sorted(found["pictures"])}


@contextmanager
def held(visitor: Site, engine: str, step: str, column: str = "") -> Iterator[tuple[Page, int]]:
    """Start an analysis and keep one of its runs from ending; gives its page, and the process that runs it."""
    token = str(uuid.uuid4())
    with holding(visitor, token, step, column) as process:
        yield send(visitor, SMALL, engine, token=token), process()


@pytest.mark.parametrize("name", [name for name in samples() if name.startswith("measurements")])
def test_the_description_says_what_is_in_the_sample(visitor: Site, engine: str, name: str) -> None:
    expected = json.loads(expected_path(samples()[name]).read_text(encoding="utf-8"))
    page = described(visitor, send(visitor, b"", engine, name="", sample=name))
    found = findings(visitor, page)
    assert found["prepared"]["rows"] == expected["rows"]
    told = {column["name"]: column for column in found["columns"]}
    assert list(told) == list(expected["columns"])
    for column, said in expected["columns"].items():
        assert (told[column]["count"], told[column]["missing"]) == (said["count"], said["missing"])
        if "mean" in said:
            numbers = told[column]["numbers"]
            assert (numbers["minimum"], numbers["maximum"]) == (said["min"], said["max"])
            assert numbers["mean"] == pytest.approx(said["mean"], rel=expected["tolerance"])
            assert numbers["standard_deviation"] == pytest.approx(said["standard_deviation"], rel=expected["tolerance"])
    names = found["correlations"]["names"]
    for pair, said in expected["correlations"].items():
        row, column = (names.index(each) for each in pair.split())
        assert found["correlations"]["rows"][row][column] == said["pairs"]
        assert found["correlations"]["coefficients"][row][column] == pytest.approx(said["pearson"], abs=1e-9)
    assert f"Rows {expected['rows']:,} Columns {len(told)} Described {len(told)}" in page.words
    assert "temperature humidity -0.3082 1,932" in page.words
    pictures = re.findall(r'<img src="([^"]+)"', page.text)
    assert len(pictures) == len(told) + 2
    for picture in pictures:
        assert visitor.open(picture).content.startswith(b"\x89PNG")


def test_what_does_not_fit_is_counted_and_the_rest_may_be_fetched(visitor: Site, engine: str) -> None:
    page = described(visitor, send(visitor, SMALL + b"5\n\n6,7.0,z\n", engine))
    assert "Rows 5 Columns 3 Described 3 Records left out 2" in page.words
    assert "fields 1" in page.words
    assert "empty line 1" in page.words
    answer = visitor.open(f"{page.url}prepared.parquet")
    assert "attachment" in answer.headers["Content-Disposition"]
    table = pl.read_parquet(io.BytesIO(answer.content))
    assert table.rows() == [(1, 2.5, "x"), (2, 3.5, "y"), (3, 5.0, "x"), (4, None, "y"), (6, 7.0, "z")]


def test_columns_show_as_soon_as_each_is_described(visitor: Site, engine: str) -> None:
    with held(visitor, engine, "describe", "c") as (page, _):

        def partly() -> Page | None:
            now = visitor.open(f"{page.url}?part=1")
            return now if "Described 2" in now.words else None

        part = until(partly, "the other columns are not described")
        assert part is not None
        assert "data-over" not in part.text
        assert "Standard deviation" in part.words
        assert re.search(r"c text (Running|Queued)", part.words)
        assert visitor.open(f"{page.url}column-1.png").content.startswith(b"\x89PNG")
        assert visitor.open(f"{page.url}column-3.png").status == 404
        assert visitor.open(f"{page.url}findings.json").status == 404
    assert "Described 3" in described(visitor, page).words


STEPS = [("prepare", ""), ("describe", "b"), ("correlate", ""), ("draw", "")]


def test_killed_in_any_step_the_description_is_the_same(site: Site, engine: str) -> None:
    whole = site.visitor()
    undisturbed = described(whole, send(whole, SMALL, engine))
    expected = comparable(findings(whole, undisturbed))
    drawn = {name: whole.open(undisturbed.url + name).content for name in PICTURES}
    for step, column in STEPS:
        visitor = site.visitor()
        with held(visitor, engine, step, column) as (page, process):
            os.kill(process, signal.SIGKILL)
        page = described(visitor, page)
        assert comparable(findings(visitor, page)) == expected
        assert {name: visitor.open(page.url + name).content for name in PICTURES} == drawn
        with visitor.ledger() as ledger:
            rows = ledger.execute(
                'SELECT step, "column", count(*) FROM analysis_steprun WHERE analysis_id = %s AND step = ANY(%s)'
                ' GROUP BY step, "column"',
                [pk_of(page), [each for each, _ in STEPS if each != "describe"]],
            ).fetchall()
        assert {name: number for name, _, number in rows} == {
            name: 1 + (name == step) for name, _ in STEPS if name != "describe"
        }
        # What the killed run had kept is gone: the table, and the pictures.
        kept = visitor.stack.data / "files" / pk_of(page)
        assert len(list(kept.iterdir())) == 1 + len(PICTURES)


REFUSED: list[tuple[str, bytes, str]] = [
    ("photo.csv", b"\x89PNG\r\n\x1a\n" + bytes(500), "PNG"),
    ("bomb.csv", b"PK\x03\x04" + bytes(5000), "ZIP"),
    ("nul.csv", b"a,b\n1,\x002\n", "binary"),
    ("wrong.csv", b"a,b\n1,\x81\x8d\xff\n", "not UTF-8"),
    ("wide.csv", b",".join(b"c%d" % column for column in range(1_000_000)) + b"\n", "columns; the most is 200"),
    ("none.parquet", b"a,b\n1,2\n", "named .parquet but is no Parquet file"),
    ("damaged.parquet", b"PAR1\x15" + bytes(500) + b"PAR1", "The Parquet file is damaged"),
]


@pytest.mark.parametrize(("name", "content", "words"), REFUSED, ids=[name for name, _, _ in REFUSED])
def test_what_is_no_data_set_is_refused_in_plain_words(
    visitor: Site, engine: str, name: str, content: bytes, words: str
) -> None:
    page = visitor.finished(send(visitor, content, engine, name=name))
    assert page.phase == "failed"
    assert f"{name}: " in page.words
    assert words in page.words
    assert "Traceback" not in page.text
    assert 'File "' not in page.text
    assert "Attempt 1" in page.words


def test_neither_a_file_nor_a_sample_or_both_are_errors_of_the_form(visitor: Site) -> None:
    for content, sample in ((b"", ""), (SMALL, "measurements-small.csv")):
        page = send(visitor, content, "celery", name="data.csv" if content else "", sample=sample)
        assert page.status == 422
        assert "Choose a file or a sample, one of both." in page.words
    page = send(visitor, b"", "celery", name="empty.csv")
    assert (page.status, "The submitted file is empty." in page.words) == (422, True)
    page = send(visitor, b"a,b\n" + b"x" * 20_000_000, "celery", name="vast.csv")
    assert (page.status, "vast.csv is larger than" in page.words) == (422, True)
    assert send(visitor, b"", "celery", name="", sample="/etc/passwd").status == 422


def test_the_same_file_twice_is_one_analysis(visitor: Site, engine: str) -> None:
    first = described(visitor, send(visitor, SMALL, engine))
    second = send(visitor, SMALL, engine, name="copy.csv")
    assert second.url == f"{first.url}?again=1"
    assert "You sent this file before" in second.words
    bad = [visitor.finished(send(visitor, b"1,2\n", engine)).url for _ in range(2)]
    assert bad[0] != bad[1]


def test_a_form_sent_twice_starts_one_analysis(visitor: Site) -> None:
    token = str(uuid.uuid4())
    pages = [send(visitor, SMALL + row, "celery", token=token) for row in (b"7,8,z\n", b"9,9,z\n")]
    assert pk_of(pages[0]) == pk_of(pages[1]) == token


def test_a_table_that_is_gone_in_the_middle(visitor: Site, engine: str) -> None:
    with held(visitor, engine, "describe", "b") as (page, process):
        for file in (visitor.stack.data / "files" / pk_of(page)).iterdir():
            file.unlink()
        os.kill(process, signal.SIGKILL)
    page = visitor.finished(page)
    assert page.phase == "failed"
    assert "The table is not there any more: upload the file again." in page.words
    assert "Traceback" not in page.text
    assert "ChildFailed" not in page.text
    assert "tandem.exceptions" not in page.text


def test_an_analysis_that_its_owner_deletes_in_the_middle(visitor: Site, engine: str) -> None:
    with held(visitor, engine, "describe", "b") as (page, _):
        execution = re.search(r"executions/([\w-]+)/cancel", visitor.open(page.url).text)
        assert execution is not None
        gone = visitor.post(f"{page.url}delete", {})
        assert gone.url.endswith("/analysis/")
        assert visitor.open(page.url).status == 404
    over = visitor.finished(visitor.open(f"/executions/{execution[1]}/"))
    assert over.phase == "cancelled"
    assert "Traceback" not in over.text
    until(lambda: not (visitor.stack.data / "files" / pk_of(page)).exists(), "its files are still there")


def test_analyses_are_private_to_their_user(site: Site, visitor: Site, engine: str) -> None:
    page = described(visitor, send(visitor, SMALL, engine))
    with visitor.ledger() as ledger:
        rows = ledger.execute(
            "SELECT child.id FROM tandem_execution AS child JOIN analysis_analysis ON execution = child.parent"
            " WHERE analysis_analysis.id = %s",
            [pk_of(page)],
        ).fetchall()
    assert len(rows) == 3
    files = [f"{page.url}{name}" for name in (*PICTURES, "findings.json", "prepared.parquet")]
    urls = [page.url, f"{page.url}?part=1", *files, *(f"/executions/{child}/" for (child,) in rows)]
    assert [visitor.open(url).status for url in urls] == [200] * len(urls)
    assert [site.visitor().open(url).status for url in urls] == [404] * len(urls)
    assert "Sign in" in Site(site.stack).open(page.url).words
    assert site.visitor().post(f"{page.url}delete", {}).status == 404
    assert pk_of(page) not in site.visitor().open("/analysis/").text
    assert pk_of(page) in visitor.open("/analysis/").text
    for name in ("column-4.png", "column-0.png", "../files.png", "manage.py", "column-1.png.png"):
        assert visitor.open(f"{page.url}{name}").status == 404


def test_names_of_columns_and_texts_are_shown_as_they_are(visitor: Site, engine: str) -> None:
    content = "<b>bold</b>,$x$ & y,価格,*\n<script>,1,2,{{ 3 }}\n日本,3,4,x\n"
    page = described(visitor, send(visitor, content.encode(), engine, name="<i>data</i>.csv"))
    assert "&lt;b&gt;bold&lt;/b&gt;" in page.text
    assert "<b>bold</b>" not in page.text
    assert "<i>data" not in page.text
    assert "価格" in page.words
    assert "{{ 3 }}" in page.words


def test_a_column_that_is_empty_and_a_file_without_rows(visitor: Site, engine: str) -> None:
    page = described(visitor, send(visitor, b"a,b\n,1\n,2\n", engine))
    assert "a empty 2" in page.words
    page = described(visitor, send(visitor, b"a,b\n", engine, name="header.csv"))
    assert "Rows 0 Columns 2 Described 2" in page.words


def test_the_description_stays_once_its_execution_was_pruned(visitor: Site) -> None:
    page = described(visitor, send(visitor, SMALL, "celery"))
    with visitor.ledger() as ledger:
        query = "SELECT execution FROM analysis_analysis WHERE id = %s"
        row = ledger.execute(query, [pk_of(page)]).fetchone()
        assert row is not None
        ledger.execute("DELETE FROM tandem_step WHERE execution_id = %s", row)
        ledger.execute("DELETE FROM tandem_execution WHERE id = %s OR parent = %s", [row[0], row[0]])
    page = visitor.open(page.url)
    assert page.status == 200
    assert "How it ran was pruned." in page.words
    assert "Described 3" in page.words
    assert visitor.open(f"{page.url}column-1.png").status == 200
