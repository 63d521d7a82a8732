"""What is asked of Restate's ingress and admin API, and how each answer is read; whoever carries it.

A caller's headers are never forwarded: the ingress keeps headers in its journal.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from tandem.configuration import RestateOptions
from tandem.engines.restate.targets import HEADER, TRACKER_WRITER, Target, tracker_name
from tandem.exceptions import TandemError

__all__ = ["Answer", "Query", "Requests", "RestateRefused", "State"]

_JSON: Final = {"content-type": "application/json"}
_ACCEPT: Final = {"accept": "application/json", **_JSON}
_EMPTY: Final = b"{}"
_UNFINISHED: Final = 470
# As if a gateway had said it: what Restate may do with the request is not known.
_WRONG: Final = 502
_SOURCE: Final = "x-restate-error-source"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What an engine says of a reference: `alive` (on its way or running), `absent`, `ended`, or `unknown`."""

    kind: str
    detail: str = ""


class RestateRefused(TandemError):
    """Restate is there, and refused a request; `status` is its HTTP status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of Restate's; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is of the 200s."""
        return self.status // 100 == 2  # noqa: PLR2004  # as it says


@dataclass(frozen=True, slots=True, kw_only=True)
class Query[T]:
    """One request, and how its answer is read. `harmless` ones are tried again once when the connection broke."""

    method: str
    url: str
    read: Callable[[Answer], T]
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float
    harmless: bool = True


def _refusal(answer: Answer, url: str) -> RestateRefused:
    text = answer.content.decode(errors="replace")[:500]
    try:
        text = str(json.loads(answer.content)["message"])
    except (ValueError, KeyError, TypeError):
        text = text or "no reason given"
    return RestateRefused(f"Restate answered {answer.status} to {url}: {text}", status=answer.status)


def _json(answer: Answer, url: str) -> Any:
    if not answer.is_success:
        raise _refusal(answer, url)
    try:
        return json.loads(answer.content) if answer.content else None
    except ValueError as error:
        raise _not_restate(answer, url) from error


def _item(answer: Answer, url: str, name: str) -> Any:
    content = _json(answer, url)
    if not isinstance(content, dict) or name not in content:
        raise _not_restate(answer, url)
    return content[name]


def _not_restate(answer: Answer, url: str) -> RestateRefused:
    """Whoever answers there: a proxy's page, or another server on that port."""
    text = answer.content.decode(errors="replace")[:100]
    return RestateRefused(f"{url} answered {answer.status} with {text!r}, which Restate does not say.", status=_WRONG)


def _nothing(answer: Answer, url: str) -> None:
    _json(answer, url)


def _state(answer: Answer, url: str) -> State:
    """A 404 of the ingress: never arrived, purged or forgotten. What the invocation itself answered has ended it."""
    if answer.status == _UNFINISHED:
        return State(kind="alive")
    if answer.is_success:
        return State(kind="ended")
    if answer.headers.get(_SOURCE) == "invocation":
        return State(kind="ended", detail=answer.content.decode(errors="replace")[:500])
    if answer.status == HTTPStatus.NOT_FOUND:
        return State(kind="absent")
    raise _refusal(answer, url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Builds each request. Keys are percent-escaped; a send is idempotent, so all but admin writes are harmless."""

    options: RestateOptions

    def _ingress[T](
        self,
        path: str,
        read: Callable[[Answer, str], T],
        *,
        content: bytes = b"",
        headers: Mapping[str, str] = _JSON,
        method: str = "POST",
        seconds: float | None = None,
    ) -> Query[T]:
        url = self.options.ingress_url.rstrip("/") + path
        return Query(
            method=method,
            url=url,
            read=lambda answer: read(answer, url),
            content=content,
            headers=headers,
            seconds=self.options.request_timeout if seconds is None else seconds,
        )

    def _admin[T](
        self,
        path: str,
        read: Callable[[Answer, str], T],
        *,
        method: str = "GET",
        body: Any = None,
        harmless: bool = True,
    ) -> Query[T]:
        url = self.options.admin_url.rstrip("/") + path
        return Query(
            method=method,
            url=url,
            read=lambda answer: read(answer, url),
            content=b"" if body is None else json.dumps(body).encode(),
            headers=_ACCEPT,
            seconds=self.options.request_timeout,
            harmless=harmless,
        )

    def send(self, target: Target, key: str, *, seconds: float | None = None) -> Query[str]:
        """Send a reference; reads the invocation's id, the same for the same key."""
        headers = {**_JSON, HEADER: key}
        if not target.workflow:
            headers["idempotency-key"] = key
        return self._ingress(
            target.send_path(key),
            lambda answer, url: str(_item(answer, url, "invocationId")),
            content=_EMPTY,
            headers=headers,
            seconds=seconds,
        )

    def track(self, id_: str, handler: str, token: str, value: Any = None) -> Query[None]:
        """Send to the tracker of an execution, with the token that it asks of who writes."""
        return self._ingress(
            f"/restate/send/{tracker_name(self.options.prefix)}/{quote(id_, safe='')}/{handler}",
            _nothing,
            content=json.dumps(value).encode(),
            headers={**_JSON, TRACKER_WRITER: token},
        )

    def state(self, target: Target, key: str) -> Query[State]:
        """Ask what became of a reference."""
        return self._ingress("/restate/output", _state, content=json.dumps(target.lookup(key)).encode())

    def state_of(self, invocation: str) -> Query[State]:
        """Ask what became of an invocation, whatever it was sent to."""
        return self._ingress(f"/restate/output/{quote(invocation, safe='')}", _state, method="GET")

    def lookup(self, target: Target, key: str) -> Query[str]:
        """Compute an invocation's id; says nothing about whether there is one."""
        return self._ingress(
            "/restate/lookup",
            lambda answer, url: str(_item(answer, url, "invocationId")),
            content=json.dumps(target.lookup(key)).encode(),
        )

    def health(self) -> Query[None]:
        """Ask whether the ingress takes requests."""
        return self._ingress("/restate/health", _nothing, method="GET")

    def version(self) -> Query[str]:
        """Ask the admin API which version runs."""
        return self._admin("/version", lambda answer, url: str(_item(answer, url, "version")))

    def register(self, uri: str, *, force: bool) -> Query[dict[str, Any]]:
        """Register the services found at `uri`; reads the deployment with its services."""
        return self._admin("/deployments", _json, method="POST", body={"uri": uri, "force": force}, harmless=False)

    def services(self) -> Query[list[dict[str, Any]]]:
        """List the services with their handlers and what they are set to."""
        return self._admin("/services", lambda answer, url: list(_item(answer, url, "services")))

    def kill(self, invocation: str) -> Query[bool]:
        """Kill an invocation; False where it is over or unknown."""

        def read(answer: Answer, url: str) -> bool:
            if answer.status in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
                return False
            _json(answer, url)
            return True

        return self._admin(f"/invocations/{quote(invocation, safe='')}/kill", read, method="PATCH")

    def paused(self, *, after: str, limit: int) -> Query[list[dict[str, Any]]]:
        """Read paused invocations in the order of their ids: `id`, and the key it was sent with, in one of two columns."""
        return self.sql(
            "SELECT id, idempotency_key, target_service_key FROM sys_invocation"
            f" WHERE status = 'paused' AND id > '{after}' ORDER BY id LIMIT {limit}"
        )

    def resume(self, invocation: str) -> Query[None]:
        """Have a paused invocation go on."""
        return self._admin(f"/invocations/{quote(invocation, safe='')}/resume", _nothing, method="PATCH")

    def resolve(self, awakeable: str) -> Query[None]:
        """Resolve an awakeable; one that is resolved already stays so."""
        return self._ingress(f"/restate/awakeables/{quote(awakeable, safe='')}/resolve", _nothing, content=b"null")

    def sql(self, query: str) -> Query[list[dict[str, Any]]]:
        """Query Restate's tables; columns that are null are left out of a row."""
        return self._admin(
            "/query", lambda answer, url: list(_item(answer, url, "rows")), method="POST", body={"query": query}
        )
