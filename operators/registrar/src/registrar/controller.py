"""One object at a time: look, decide, act, until nothing is left to do; then say so."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from registrar import metrics
from registrar.actions import (
    Action,
    AddFinalizer,
    Apply,
    Deregister,
    Event,
    Plan,
    Register,
    Remove,
    RemoveFinalizer,
    Scale,
)
from registrar.admin import Admin, EndpointUnreachable, Refused
from registrar.cluster import FINALIZER, Cluster, ClusterError, Rejected
from registrar.conditions import instant, memory_of, stamp
from registrar.manifests import Manifest, Owner
from registrar.observed import Observed, Restate, Unanswered, Verdict
from registrar.reconcile import reconcile
from registrar.revisions import GROUP, own_address
from registrar.specification import InvalidSpecification, Specification, parse
from registrar.transport import Send, Unreachable

__all__ = ["Controller"]

logger = logging.getLogger("registrar")

_ROUNDS: Final = 12
_RESYNC_SECONDS: Final = 300.0
_SOON: Final = 1.0

type Key = tuple[str, str]


class Controller:
    """Brings one `RestateService` after the other to where its spec wants it.

    `admin` carries requests to Restate, `now` tells the time. One pass at a time for one object; `run` may be called
    for several objects at once.
    """

    def __init__(self, *, cluster: Cluster, admin: Send, now: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._admin = admin
        self._now = now
        self._resynced: dict[Key, datetime] = {}

    async def run(self, namespace: str, name: str) -> float | None:
        """Do all that can be done now. Answers in how many seconds to look again, `None` when the object is gone.

        Raises `ClusterError` or `Unreachable` where Kubernetes failed: nothing is lost by trying again.
        """
        key, began = (namespace, name), time.monotonic()
        resync = self._due(key)
        rounds, again, registered = 0, 0.0, False
        while not again:
            body = await self._cluster.read(namespace, name)
            if body is None:
                self._resynced.pop(key, None)
                metrics.forget(namespace, name)
                return None
            plan, settled = await self._round(body, resync=resync, may_register=not registered)
            resync = False
            registered = registered or any(isinstance(action, Register) for action in plan.actions)
            rounds += 1
            again = plan.again if settled else _SOON if rounds == _ROUNDS else 0.0
            # A plan that will be followed by another says nothing yet, unless the object may be gone by then.
            if again or plan.status is None:
                await self._say(body, plan)
        metrics.SECONDS.observe(time.monotonic() - began)
        metrics.LAST.labels(namespace, name).set(self._now().timestamp())
        return again

    def _due(self, key: Key) -> bool:
        """Whether to look at every object of it again, changed or not."""
        now = self._now()
        last = self._resynced.get(key)
        if last is not None and (now - last).total_seconds() < _RESYNC_SECONDS:
            return False
        self._resynced[key] = now
        return True

    async def _round(self, body: Manifest, *, resync: bool, may_register: bool) -> tuple[Plan, bool]:
        """Look, decide and act once. The plan knows of what failed; the second value: another round has no use now."""
        specification = _specification(body)
        observed = await self._observe(body, specification, resync=resync)
        plan = reconcile(specification, observed, self._now())
        if not may_register:
            # It has just been done. If Restate shows no sign of it, once a pass is often enough.
            plan = replace(plan, actions=[item for item in plan.actions if not isinstance(item, Register)])
        trouble = await self._act(body, specification, plan.actions)
        if isinstance(trouble, Verdict):
            metrics.FAILURES.labels(*_key(body), trouble.kind).inc()
            plan = reconcile(specification, replace(observed, verdict=trouble, resync=False), self._now())
        elif trouble is not None:
            plan = reconcile(specification, replace(observed, restate=Unanswered(message=trouble)), self._now())
            if observed.deleting_since is not None:
                await self._act(body, specification, plan.actions)
        return plan, trouble is not None or not plan.actions or RemoveFinalizer() in plan.actions

    async def _observe(
        self, body: Manifest, specification: Specification | InvalidSpecification, *, resync: bool
    ) -> Observed:
        metadata = body["metadata"]
        namespace, name = _key(body)
        deleting = metadata.get("deletionTimestamp")
        live, keda = await self._cluster.revisions(namespace, name)
        return Observed(
            owner=Owner(name=name, namespace=namespace, uid=metadata["uid"]),
            generation=metadata.get("generation", 0),
            live=live,
            restate=await self._look(specification, namespace, name),
            finalizer=FINALIZER in (metadata.get("finalizers") or ()),
            deleting_since=instant(deleting) if deleting else None,
            memory=memory_of(body.get("status") or {}),
            keda=keda,
            resync=resync,
        )

    async def _look(
        self, specification: Specification | InvalidSpecification, namespace: str, name: str
    ) -> Restate | Unanswered:
        if isinstance(specification, InvalidSpecification):
            return Unanswered(message="the spec cannot be used")
        try:
            admin = Admin(specification.admin_url, self._admin)
            return await admin.look(own_address(name, namespace).match)
        except Unreachable as error:
            return Unanswered(message=str(error))

    async def _act(
        self, body: Manifest, specification: Specification | InvalidSpecification, actions: Sequence[Action]
    ) -> Verdict | str | None:
        """Do the actions in order, up to the first that fails; answers why it did.

        Only KEDA's objects do not hold up the rest: a rollout must not wait for KEDA's webhook. Raises in the end.
        """
        postponed: ClusterError | None = None
        for action in actions:
            try:
                trouble = await self._do(body, specification, action)
            except ClusterError as error:
                if not (isinstance(action, Apply) and action.manifest["kind"] == "ScaledObject"):
                    raise
                postponed = error
                continue
            if trouble is not None:
                return trouble
            logger.info("%s/%s: %s", *_key(body), _brief(action))
        if postponed:
            raise postponed
        return None

    async def _do(
        self, body: Manifest, specification: Specification | InvalidSpecification, action: Action
    ) -> Verdict | str | None:
        """Do one action; answers why it failed, where that is to be said."""
        try:
            if not isinstance(action, Register | Deregister):
                await self._change(body, action)
            elif isinstance(specification, Specification):
                await _tell_restate(Admin(specification.admin_url, self._admin), action)
        except Refused as error:
            return Verdict(kind="refused", message=str(error))
        except EndpointUnreachable as error:
            return Verdict(kind="endpoint", message=str(error))
        except Rejected as error:
            return Verdict(kind="rejected", message=str(error))
        except Unreachable as error:
            if isinstance(action, Register | Deregister):
                return str(error)
            raise
        return None

    async def _change(self, body: Manifest, action: Action) -> None:
        namespace, _ = _key(body)
        finalizers = body["metadata"].get("finalizers") or []
        match action:
            case Apply(manifest=manifest):
                await self._cluster.apply(manifest)
            case Remove(kind=kind, name=name):
                await self._cluster.remove(kind, namespace, name)
            case Scale(name=name, replicas=replicas):
                await self._cluster.scale(namespace, name, replicas)
            case AddFinalizer():
                await self._cluster.set_finalizers(body, [*finalizers, FINALIZER])
            case RemoveFinalizer():
                await self._cluster.set_finalizers(body, [item for item in finalizers if item != FINALIZER])

    async def _say(self, body: Manifest, plan: Plan) -> None:
        """Write the status where it is another one, and the events that go with it."""
        namespace, name = _key(body)
        if plan.status is not None:
            metrics.tell(namespace, name, plan.status)
            before = body.get("status") or {}
            if any(before.get(field) != value for field, value in plan.status.items()):
                await self._cluster.set_status(namespace, name, plan.status)
        for event in plan.events:
            if not await self._cluster.tell(namespace, _event(body, event, self._now())):
                logger.warning("%s/%s: this event was not taken: %s %s", namespace, name, event.reason, event.message)


async def _tell_restate(admin: Admin, action: Register | Deregister) -> None:
    if isinstance(action, Register):
        await admin.register(action)
    else:
        await admin.deregister(action.deployment_id)


def _specification(body: Manifest) -> Specification | InvalidSpecification:
    try:
        return parse(body.get("spec") or {}, namespace=body["metadata"]["namespace"])
    except InvalidSpecification as error:
        return error


def _key(body: Manifest) -> Key:
    return body["metadata"]["namespace"], body["metadata"]["name"]


def _brief(action: Action) -> str:
    """Say an action in one line, without its manifest."""
    match action:
        case Apply(manifest=manifest):
            return f"applied {manifest['kind']} {manifest['metadata']['name']}"
        case Remove(kind=kind, name=name):
            return f"removed {kind} {name}"
        case Scale(name=name, replicas=replicas):
            return f"scaled {name} to {replicas}"
        case Register(uri=uri, force=force):
            return f"registered {uri}{' again, as the latest' if force else ''}"
        case Deregister(deployment_id=id_):
            return f"deregistered {id_}"
        case AddFinalizer():
            return "holds the object"
        case RemoveFinalizer():
            return "lets the object go"


def _event(body: Manifest, event: Event, now: datetime) -> dict[str, Any]:
    metadata = body["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": f"{GROUP}/v1alpha1",
            "kind": "RestateService",
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata.get("resourceVersion", ""),
        },
        "type": event.kind,
        "reason": event.reason,
        # Kubernetes takes no longer ones.
        "message": event.message[:1024],
        "source": {"component": "tandem-registrar"},
        "reportingComponent": "tandem-registrar",
        "firstTimestamp": stamp(now),
        "lastTimestamp": stamp(now),
        "count": 1,
    }
