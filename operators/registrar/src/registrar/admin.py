"""Restate's admin API, as far as a registrar needs it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from registrar.actions import Register
from registrar.observed import Pinned, Registered, Restate
from registrar.transport import Answer, Request, Send, Unreachable

__all__ = ["Admin", "EndpointUnreachable", "Refused", "Taken"]

_EXAMPLES: Final = 3
_AT_ONCE: Final = 1000
_UNREACHABLE_ENDPOINT: Final = "META0003"
_TRY_AGAIN: Final = frozenset({408, 425, 429})
_SERVER_ERRORS: Final = 500
_NOT_FOUND: Final = 404
_OVER: Final = frozenset({404, 409})


class Refused(Exception):
    """Restate will not register this, however often it is asked; the message is Restate's own."""


class Taken(Exception):
    """The revision serves names that are somebody else's; the message says which, and whose."""


class EndpointUnreachable(Exception):
    """Restate could not ask the revision what it serves; the message is Restate's own."""


class Admin:
    """One Restate, by the base URL of its admin API. Every method raises `Unreachable` where it gave no sense."""

    def __init__(self, url: str, send: Send) -> None:
        self._url = url
        self._send = send

    async def look(self, is_own: Any) -> Restate:
        """Ask what is registered, what is the latest, and what is pinned; `is_own` tells our URIs."""
        listed = await self._ask("GET", "/deployments")
        if not isinstance(listed, dict) or not isinstance(rows := listed.get("deployments"), list):
            raise Unreachable(f"{self._url}/deployments answers what is no list of deployments: {listed!r:.200}")
        deployments = [_registered(row) for row in rows]
        own = [item.id for item in deployments if is_own(item.uri)]
        return Restate(
            deployments=deployments,
            latest=await self._latest(),
            pinned=await self._pinned(own) if own else {},
        )

    async def register(self, wanted: Register) -> None:
        """Register a revision, unless a dry run of it fails; raises `Refused`, `Taken` or `EndpointUnreachable`."""
        body = {
            "uri": wanted.uri,
            "force": wanted.force,
            "use_http_11": wanted.http1,
            "additional_headers": dict(wanted.additional_headers),
            "metadata": dict(wanted.metadata),
        }
        tried: frozenset[str] = frozenset()
        for dry_run in (True, False):
            request = Request(method="POST", url=f"{self._url}/deployments", body={**body, "dry_run": dry_run})
            answer = await self._send(request)
            if answer.ok:
                served = frozenset(_served(self._url, answer))
                if dry_run:
                    await self._claim(wanted, sorted(served))
                    tried = served
                elif not served <= tried:
                    # One that was there before, too: what it hid goes to it now, and would stay with it.
                    await self.deregister(answer.body["id"])
                    raise Taken(f"{wanted.uri} serves {', '.join(sorted(served - tried))}, which it hid from the trial")
                continue
            words = _words(answer)
            if answer.status < _SERVER_ERRORS and answer.status not in _TRY_AGAIN:
                raise Refused(words)
            if isinstance(answer.body, dict) and answer.body.get("restate_code") == _UNREACHABLE_ENDPOINT:
                raise EndpointUnreachable(words)
            raise Unreachable(f"{self._url} answers {answer.status} to a registration: {words}")

    async def cancel(self, deployment_id: str, done: set[str]) -> None:
        """Cancel what is pinned to a deployment and not in `done`, where it is put: a second one would end a clean-up."""
        where = f"pinned_deployment_id = '{deployment_id}' and status <> 'completed'"
        rows: Sequence[dict[str, Any]] = [{"id": ""}]
        while rows:
            where_now = f"{where} and id > '{rows[-1]['id']}'"
            rows = await self._query(f"select id from sys_invocation where {where_now} order by id limit {_AT_ONCE}")
            for id_ in (row["id"] for row in rows if row["id"] not in done):
                url = f"{self._url}/invocations/{id_}/cancel"
                answer = await self._send(Request(method="PATCH", url=url))
                if not answer.ok and answer.status not in _OVER:
                    raise Unreachable(f"{url} answers {answer.status}: {_words(answer)}")
                done.add(id_)
            if len(rows) < _AT_ONCE:
                return

    async def deregister(self, deployment_id: str) -> None:
        """Have a deployment forgotten; one that is unknown is fine."""
        url = f"{self._url}/deployments/{deployment_id}"
        answer = await self._send(Request(method="DELETE", url=url, query={"force": "true"}))
        if not answer.ok and answer.status != _NOT_FOUND:
            raise Unreachable(f"{url} answers {answer.status} to DELETE: {_words(answer)}")

    async def _claim(self, wanted: Register, names: Sequence[str]) -> None:
        """See that the names a dry run found are free, or may be taken: as things are now, and not at the last look."""
        listed = await self._ask("GET", "/deployments")
        uris = {item.id: item.uri for item in map(_registered, listed["deployments"])}
        if conflicts := wanted.claim.conflicts(names, await self._latest(), uris):
            raise Taken(
                f"{', '.join(f'{name} is served by {whose}' for name, whose in conflicts)}. Rename one of the two; or "
                f"take over by name, with spec.takeOver: [{', '.join(name for name, _ in conflicts)}]"
            )

    async def _latest(self) -> dict[str, str]:
        """Ask which deployment the new calls of each service go to."""
        services = await self._query("select name, deployment_id from sys_service")
        return {row["name"]: row["deployment_id"] for row in services if "deployment_id" in row}

    async def _pinned(self, own: Sequence[str]) -> dict[str, Pinned]:
        """Count what holds each deployment. An attempt that has just begun has no pin yet, and will have this one."""
        listed = ", ".join(f"'{id_}'" for id_ in own)
        holder = "coalesce(pinned_deployment_id, last_attempt_deployment_id)"
        where = (
            f"status <> 'completed' and (pinned_deployment_id in ({listed}) or (pinned_deployment_id is null "
            f"and status = 'running' and last_attempt_deployment_id in ({listed})))"
        )
        by = f"over (partition by {holder}"
        ranked = (
            f"select {holder} as deployment, id, target, status, count(*) {by}) as number, "
            f"sum(case status when 'paused' then 1 else 0 end) {by}) as paused, row_number() {by} order by "
            f"case status when 'paused' then 0 else 1 end, created_at, id) as place from sys_invocation where {where}"
        )
        found: dict[str, Pinned] = {}
        for row in await self._query(f"select * from ({ranked}) where place <= {_EXAMPLES} order by deployment, place"):
            before = found.get(row["deployment"], Pinned(count=row["number"], paused=row["paused"]))
            example = f"{row['id']} {row.get('target', '')} ({row['status']})"
            found[row["deployment"]] = replace(before, examples=(*before.examples, example))
        return found

    async def _query(self, sql: str) -> list[dict[str, Any]]:
        answered = await self._ask("POST", "/query", {"query": sql})
        if not isinstance(answered, dict) or not isinstance(rows := answered.get("rows"), list):
            raise Unreachable(f"{self._url}/query answers what is no list of rows: {answered!r:.200}")
        return rows

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self._send(Request(method=method, url=f"{self._url}{path}", body=body))
        if not answer.ok:
            raise Unreachable(f"{self._url}{path} answers {answer.status}: {_words(answer)}")
        return answer.body


def _registered(row: dict[str, Any]) -> Registered:
    return Registered(
        id=row["id"],
        # A function's ARN has no URI, and is none of ours.
        uri=str(row.get("uri", "")).rstrip("/"),
        services=tuple(item["name"] for item in row.get("services", ())),
        metadata=row.get("metadata") or {},
    )


def _served(url: str, answer: Answer) -> list[str]:
    services = answer.body.get("services") if isinstance(answer.body, dict) else None
    if not isinstance(services, list):
        raise Unreachable(f"{url}/deployments answers what names no services: {answer.body!r:.200}")
    return [item["name"] for item in services]


def _words(answer: Answer) -> str:
    """Restate's own words, with its code."""
    if isinstance(answer.body, dict) and "message" in answer.body:
        code, message = answer.body.get("restate_code"), str(answer.body["message"])
        return message if not code or code in message else f"[{code}] {message}"
    return str(answer.body) or f"HTTP {answer.status}"
