"""A real Restate for a simulated Kubernetes: addresses of revisions are rewritten to one server of this process.

`http://shop-1a2b.shop-space.svc:9080` becomes `http://127.0.0.1:PORT/shop-1a2b.shop-space.svc:9080` on the way to
Restate, and back in its answers. The server plays whatever runs behind the address, and answers 503 without pods.
"""

import asyncio
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache
from random import Random
from threading import Thread
from typing import Any, Final, Self

import httpx
import restate
from hypercorn.asyncio import serve
from hypercorn.config import Config

from registrar.transport import Answer, Connections, Request, Unreachable
from tests.registrar.kubernetes_model import KubernetesModel
from tests.registrar.restate_model import URL, Facts
from tests.registrar.sequences import SERVICES

__all__ = ["Endpoints", "RealRestate"]

logger = logging.getLogger(__name__)

_HOST: Final = "127.0.0.1"
_SECONDS: Final = 20.0


async def _sleep(context: Any, _: Any) -> None:
    await context.sleep(timedelta(hours=1))


@cache
def application(services: frozenset[tuple[str, str]]) -> Any:
    """What one image serves: a handler `run` that sleeps for an hour, in each service."""
    made: list[restate.Service | restate.VirtualObject] = []
    for name, kind in sorted(services):
        service = restate.Service(name) if kind == "Service" else restate.VirtualObject(name)
        service.handler("run")(_sleep)
        made.append(service)
    return restate.app(made)


class Endpoints:
    """Serves every revision that has pods in `kubernetes`, from a thread, on `port`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.kubernetes: KubernetesModel | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._run, name="endpoints", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SECONDS)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        serving = self._loop.create_task(self._serve())
        self._loop.run_forever()
        # Told to stop, hypercorn would wait for every connection and every handler that sleeps in one.
        while tasks := asyncio.all_tasks(self._loop):
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=1))
        assert serving.done()
        self._loop.close()

    async def _serve(self) -> None:
        config = Config()
        config.bind, config.errorlog = [f"{_HOST}:{self.port}"], None
        while True:
            try:
                await serve(self._answer, config, shutdown_trigger=asyncio.Event().wait)
            except* (KeyError, RuntimeError) as ended:
                # hypercorn ends altogether when data comes for a stream whose request was answered before its end,
                # sometimes with a second error: of a stream that wants to end in the group that is ending.
                logger.info("served again after %s", ended)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        _, address, rest = scope["path"].split("/", 2)
        uri = f"http://{address}"
        if self.kubernetes is None or not self.kubernetes.available(uri):
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b"no pods"})
            return
        inner = {**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode()}
        services = SERVICES[self.kubernetes.image(uri)]
        await application(frozenset(services.items()))(inner, receive, send)


class RealRestate:
    """A `Runtime` on a real server. `port` is that of `endpoints`."""

    def __init__(self, *, admin: str, ingress: str, port: int, types: Callable[[str], Mapping[str, str]]) -> None:
        self.down = self.deleting = False
        self.fail_after: int | None = None
        self.violations: list[str] = []
        self.requests: list[Request] = []
        self._admin, self._ingress, self._base = admin, ingress, f"http://{_HOST}:{port}/"
        self._types = types
        self._connections = Connections("restate")
        self._client = httpx.AsyncClient(timeout=_SECONDS)
        self._uris: set[str] = set()

    async def send(self, request: Request) -> Answer:
        """Carry the registrar's requests, and see that it lets go of nothing that is pinned."""
        if self.down or self.fail_after == 0:
            raise Unreachable(f"{request.url} does not answer")
        if self.fail_after is not None:
            self.fail_after -= 1
        self.requests.append(request)
        if request.method == "DELETE" and not self.deleting:
            pinned = (await self.facts()).pinned
            if count := pinned.get(request.url.rpartition("/")[2]):
                self.violations.append(f"{request.url} was deregistered with {count} pinned")
        return await self._carry(request)

    def registered(self, uri: str) -> bool:
        """Whether a URI was registered when Restate was last asked."""
        return uri in self._uris

    async def facts(self) -> Facts:
        listed = await self._carry(Request(method="GET", url=f"{URL}/deployments"))
        rows = listed.body["deployments"]
        services = await self._query("select name, deployment_id from sys_service")
        return Facts(
            deployments={row["id"]: row["uri"].rstrip("/") for row in rows},
            metadata={row["id"]: row.get("metadata", {}) for row in rows},
            latest={row["name"]: row["deployment_id"] for row in services},
            pinned={
                row["id"]: row["n"]
                for row in await self._query(
                    "select pinned_deployment_id as id, count(*) as n from sys_invocation where status <> 'completed' "
                    "and pinned_deployment_id is not null group by 1"
                )
            },
        )

    async def start(self, service: str) -> None:
        """Send, and wait until the invocation has been tried."""
        facts = await self.facts()
        if self.down or service not in facts.latest:
            return
        uri = facts.deployments[facts.latest[service]]
        keyed = self._types(uri).get(service) == "VirtualObject"
        path = f"{service}/{len(self.requests)}/run/send" if keyed else f"{service}/run/send"
        answer = await self._client.post(
            f"{self._ingress}/{path}", json=None, headers={"content-type": "application/json"}, content="{}"
        )
        answer.raise_for_status()
        id_ = answer.json()["invocationId"]
        await self._until(
            f"select id from sys_invocation where id = '{id_}' and last_attempt_deployment_id is not null"
        )

    async def end(self, random: Random, share: float) -> None:
        rows = await self._query("select id from sys_invocation where status <> 'completed'")
        ended = [row["id"] for row in rows if random.random() < share]
        for id_ in ended:
            (await self._client.patch(f"{self._admin}/invocations/{id_}/kill")).raise_for_status()
        if ended:
            listed = ", ".join(f"'{id_}'" for id_ in ended)
            await self._until(
                f"select id from sys_invocation where status <> 'completed' and id in ({listed})", none=True
            )

    async def pause(self, random: Random) -> None:
        """Resume all that is paused, or have one pause: it does when its attempt ends, be that now or in a minute."""
        for row in await self._query("select id from sys_invocation where status = 'paused'"):
            (await self._client.patch(f"{self._admin}/invocations/{row['id']}/resume")).raise_for_status()
        rows = await self._query("select id from sys_invocation where status = 'running' order by id")
        if rows and random.random() < 0.5:
            id_ = random.choice(rows)["id"]
            (await self._client.patch(f"{self._admin}/invocations/{id_}/pause")).raise_for_status()

    async def lose(self) -> None:
        """Forget all invocations and registrations, as with an empty volume."""
        await self.end(Random(0), 1.0)
        for id_ in (await self.facts()).deployments:
            await self._carry(Request(method="DELETE", url=f"{URL}/deployments/{id_}", query={"force": "true"}))

    async def tick(self) -> None:
        """Time passes by itself here."""

    async def close(self) -> None:
        await self._connections.close()
        await self._client.aclose()

    async def _carry(self, request: Request) -> Answer:
        body = request.body
        if isinstance(body, dict) and "uri" in body:
            body = {**body, "uri": body["uri"].replace("http://", self._base)}
        url = request.url.replace(URL, self._admin)
        answer = await self._connections.send(replace(request, url=url, body=body))
        text = re.sub(re.escape(self._base) + r"([^\"' ]*?)/?(?=[\"' ])", r"http://\1", json.dumps(answer.body))
        answer = Answer(status=answer.status, body=json.loads(text))
        if request.method == "GET" and answer.ok:
            self._uris = {row["uri"].rstrip("/") for row in answer.body["deployments"]}
        elif isinstance(body, dict) and body.get("dry_run") is False and answer.ok:
            self._uris.add(request.body["uri"])
        return answer

    async def _query(self, sql: str) -> list[dict[str, Any]]:
        answer = await self._carry(Request(method="POST", url=f"{URL}/query", body={"query": sql}))
        assert answer.ok, answer
        rows: list[dict[str, Any]] = answer.body["rows"]
        return rows

    async def _until(self, sql: str, *, none: bool = False) -> None:
        async with asyncio.timeout(_SECONDS):
            while bool(await self._query(sql)) == none:  # noqa: ASYNC110  # another process's state
                await asyncio.sleep(0.02)
