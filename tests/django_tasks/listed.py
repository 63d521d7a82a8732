"""Django's cases that fail on Tandem: for each the sentence of docs/tasks.md that says why, and on what it fails."""

from collections.abc import Mapping
from typing import Final

__all__ = ["LISTED"]

_EVERYWHERE: Final = frozenset({"memory", "celery", "restate"})
_RUNNING: Final = frozenset({"celery", "restate"})
_IMMEDIATE: Final = "tasks.test_immediate_backend.ImmediateBackendTestCase."
_DUMMY: Final = "tasks.test_dummy_backend.DummyBackendTestCase."

_RESULTS: Final = "Every engine keeps results, so `get_result` and `refresh` work on each."
_DEFERS: Final = (
    "`run_after` is checked when a call is enqueued, not by `.using`: the immediate engine does not defer yet, and"
    " `enqueue` says so."
)
_ROW: Final = "A result is what the ledger says: what a caller writes into one is gone with the next `refresh`."
_ELSEWHERE: Final = (
    "On a running engine `task_started` and `task_finished`, and what Django logs of them, come from the process that"
    " runs the body or ends its execution."
)
_BODY: Final = "`KeyboardInterrupt` in a body is a failure like any other: it ends no worker and reaches no caller."
_COMMIT: Final = "On a running engine a call is sent when its transaction commits, and does not run before."

LISTED: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    f"{_IMMEDIATE}test_cannot_get_result": (_RESULTS, _EVERYWHERE),
    f"{_IMMEDIATE}test_cannot_refresh_result": (_RESULTS, _EVERYWHERE),
    f"{_IMMEDIATE}test_cannot_pass_run_after": (_DEFERS, _EVERYWHERE),
    f"{_DUMMY}test_refresh_result": (_ROW, _RUNNING),
    f"{_DUMMY}test_refresh_result_async": (_ROW, _RUNNING),
    f"{_IMMEDIATE}test_catches_exception": (_ELSEWHERE, _RUNNING),
    f"{_IMMEDIATE}test_complex_exception": (_ELSEWHERE, _RUNNING),
    f"{_IMMEDIATE}test_complex_return_value": (_ELSEWHERE, _RUNNING),
    f"{_IMMEDIATE}test_enqueue_logs": (_ELSEWHERE, _RUNNING),
    f"{_IMMEDIATE}test_failed_logs": (_ELSEWHERE, _RUNNING),
    f"{_IMMEDIATE}test_throws_keyboard_interrupt": (_BODY, _RUNNING),
    "tasks.test_immediate_backend.ImmediateBackendTransactionTestCase."
    "test_doesnt_wait_until_transaction_commit_by_default": (_COMMIT, _RUNNING),
}
