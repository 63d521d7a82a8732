"""The showcase as its users meet it: pages over HTTP, mail over SMTP, workers of both engines, a ledger to look into."""

import json
import uuid
from collections.abc import Mapping

import pytest

from tests.integration.site import Page, Site, execution_id
from tests.integration.waiting import until


def test_an_email_is_sent_from_the_page_and_watched_there(site: Site, engine: str) -> None:
    page = site.finished(site.send("ann@example.com", engine))
    assert page.phase == "succeeded"
    assert page.steps == ["compose", "deliver", "record"]
    assert f"on {engine.title()} . Why this engine: the call asked for it" in page.words
    assert "100 % recorded" in page.words
    assert "'code': 250" in page.words
    assert site.accepted(page) == 1
    assert site.open("/executions/").text.count(execution_id(page)) == 1


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
    again = site.finished(site.post(f"/executions/{execution_id(page)}/retry", {"engine": other}))
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
    site.post(f"/executions/{execution_id(page)}/cancel", {})
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
    page = site.open(f"/executions/{uuid.uuid4()}/")
    assert page.status == 404
    assert "it was never committed, it was pruned" in page.words
