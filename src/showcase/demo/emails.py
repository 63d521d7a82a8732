"""Emails on both engines: accepted, refused for now, refused for good, accepted without a word."""

import json
import urllib.request
from dataclasses import dataclass

from showcase.demo import observe
from showcase.demo.report import Line, Report
from showcase.emails.sending import send_one
from showcase.emails.tasks import ping, send_email
from tandem.configuration import RestateOptions
from tandem.ledger.models import Execution

__all__ = ["run"]

ENGINES = ("celery", "restate")
FINISH_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Case:
    """One email and what must come of it; `accepted` is how often the inbox accepts its Message-ID."""

    label: str
    recipient: str
    phase: str = "succeeded"
    attempts: int = 1
    steps: int = 3
    accepted: int = 1
    said: str = ""


CASES = (
    Case(label="send_email", recipient="ann@example.com"),
    Case(label="send_email, refused once (4xx)", recipient="temporary-1@example.com", attempts=2, said="451"),
    Case(
        label="send_email, refused for good (5xx)",
        recipient="reject@example.com",
        phase="failed",
        steps=1,
        accepted=0,
        said="550",
    ),
    Case(
        label="send_email, connection dropped",
        recipient="drop@example.com",
        attempts=2,
        accepted=2,
        said="closed the connection",
    ),
)


def run(report: Report) -> None:
    """Send each case on each engine, one by the routes, one from outside through the ingress, and two pings."""
    before = observe.inbox()
    sent = {
        send_one(recipient=case.recipient, subject="Demonstration", body=f"On {engine}.", engine=engine).id: (
            case,
            engine,
        )
        for engine in ENGINES
        for case in CASES
    }
    routed = send_one(recipient="routed@example.com", subject="Demonstration", body="Where the routes say.")
    pings = {ping.using(engine=engine).enqueue().id: engine for engine in ENGINES}
    called = call_from_outside()
    executions = observe.finished([*sent, routed.id, *pings], timeout=FINISH_SECONDS)
    for pk, (case, engine) in sent.items():
        report.add(line(case, executions[pk], engine))
    by_route = Case(label="send_email, by the routes", recipient="routed@example.com")
    report.add(line(by_route, executions[routed.id], "celery"))
    from_outside = Case(label="send_email, called by HTTP", recipient="outside@example.com")
    report.add(line(from_outside, called, "restate"))
    for pk, engine in pings.items():
        report.add(line_of_ping(executions[pk], engine))
    after = observe.inbox()
    accepted, distinct = after["accepted"] - before["accepted"], after["distinct"] - before["distinct"]
    dropped = len(ENGINES)
    report.note(
        f"the inbox accepted {accepted} messages, {distinct} distinct by Message-ID: {accepted - distinct} duplicates"
        " to drop, one for each dropped connection",
        wrong=[] if accepted - distinct == dropped else [f"expected {dropped} duplicates"],
    )


def call_from_outside() -> Execution:
    """Call the task as any program can, through Restate's ingress, and return the execution that made."""
    restate = send_email.get_backend().configuration.restate or RestateOptions()
    url = f"{restate.ingress_url}/EmailService/send_email"
    content = {"recipient": "outside@example.com", "subject": "Demonstration", "body": "Called by HTTP."}
    request = urllib.request.Request(  # noqa: S310 - the stack's own address
        url, data=json.dumps(content).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=FINISH_SECONDS) as answer:  # noqa: S310 - as above
        message_id = json.load(answer)["message_id"]
    found = Execution.objects.filter(task__endswith=".send_email", result__message_id=message_id)
    return found.order_by("-created_at").get()


def line(case: Case, execution: Execution, engine: str) -> Line:
    """Turn an execution into a line, and compare it with what its case must come to."""
    attempts = attempts_of(execution)
    steps = execution.steps.count()
    said = " ".join(error["traceback"] for error in execution.errors)
    accepted = accepted_of(execution)
    expected: tuple[tuple[str, object, object], ...] = (
        ("engine", execution.engine, engine),
        ("phase", execution.phase, case.phase),
        ("attempts", attempts, case.attempts),
        ("steps", steps, case.steps),
        ("times accepted by the inbox", accepted, case.accepted),
        (f"error says {case.said!r}", case.said in said, True),
    )
    result = observe.result_text(execution)
    return Line(
        task=case.label,
        engine=execution.engine,
        reason=execution.reason,
        steps=steps,
        attempts=attempts,
        seconds=observe.seconds(execution),
        result=f"{result} (a duplicate)" if accepted > 1 else result,
        wrong=[f"{what} is {found}, not {wanted}" for what, found, wanted in expected if found != wanted],
    )


def attempts_of(execution: Execution) -> int:
    """The attempts made: those that failed, and the one that succeeded."""
    return execution.attempts + (execution.phase == "succeeded")


def accepted_of(execution: Execution) -> int:
    """How often the inbox accepted the Message-ID that the compose step made."""
    composed = execution.steps.filter(name="compose").first()
    messages = observe.inbox(composed.result["message_id"])["messages"] if composed and composed.result else []
    return int(messages[0]["accepted"]) if messages else 0


def line_of_ping(execution: Execution, engine: str) -> Line:
    """The line of the task with an async body."""
    right = (execution.phase, execution.engine, execution.result) == (
        "succeeded",
        engine,
        {"answer": "pong", "engine": engine},
    )
    return Line(
        task="ping (async body)",
        engine=execution.engine,
        reason=execution.reason,
        steps=execution.steps.count(),
        attempts=attempts_of(execution),
        seconds=observe.seconds(execution),
        result=observe.result_text(execution),
        wrong=[] if right else [f"it is {execution.phase} on {execution.engine} with {execution.result}"],
    )
