"""One object at a time: look, decide, act, until nothing is left to do; then say so."""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from registrar import metrics
from registrar.actions import Cancel, Plan, Register, RemoveFinalizer
from registrar.actor import Actor
from registrar.admin import Admin
from registrar.cluster import FINALIZER, Cluster, ClusterError, Conflict
from registrar.conditions import events, hindered_status, instant, memory_of
from registrar.consent import Consent, is_listed, objection
from registrar.manifests import Key, Manifest, Owner, key_of
from registrar.observed import NotAllowed, Observed, Restate, Unanswered, Verdict
from registrar.reconcile import reconcile
from registrar.revisions import own_address, owner_in
from registrar.specification import InvalidSpecification, Specification, parse
from registrar.transport import Send, Unreachable

__all__ = ["Controller"]

logger = logging.getLogger("registrar")

_ROUNDS: Final = 12
_RESYNC_SECONDS: Final = 300.0
_SOON: Final = 1.0


class Controller:
    """Brings one `RestateService` after the other to where its spec wants it.

    `admin` carries requests to Restate, `now` tells the time, `consents` where objects may point outside of their
    namespaces. One pass at a time for one object; `run` may be called for several objects at once.
    """

    def __init__(
        self, *, cluster: Cluster, admin: Send, now: Callable[[], datetime], consents: Sequence[Consent] = ()
    ) -> None:
        self._cluster = cluster
        self._consents = consents
        self._actor = Actor(cluster=cluster, admin=admin)
        self._admin = admin
        self._now = now
        self._resynced: dict[Key, datetime] = {}
        self._silent: dict[Key, datetime] = {}

    async def run(self, namespace: str, name: str) -> float | None:
        """Do all that can be done now. Answers in how many seconds to look again, `None` when the object is gone.

        Raises `ClusterError` or `Unreachable` where Kubernetes failed: nothing is lost by trying again.
        """
        key, began = (namespace, name), time.monotonic()
        resync = retried = self._due(key)
        rounds, again, asked = 0, 0.0, False
        while not again:
            body = await self._cluster.read(namespace, name)
            if body is None:
                self._resynced.pop(key, None)
                self._actor.forget(key)
                self._silent.pop(key, None)
                metrics.forget(namespace, name)
                return None
            try:
                plan, settled, failed = await self._round(body, resync=resync, retried=retried, may_ask=not asked)
            except Conflict:
                raise
            except (ClusterError, Unreachable) as error:
                await self._say(body, _hindered(body, str(error), self._now()))
                raise
            resync = False
            asked = asked or any(isinstance(action, Register | Cancel) for action in plan.actions)
            rounds += 1
            again = plan.again if settled else _SOON if rounds == _ROUNDS else 0.0
            # A plan that will be followed by another says nothing yet, unless the object may be gone by then.
            if again or plan.status is None:
                await self._say(body, plan)
            if failed is not None:
                raise failed
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

    async def _round(
        self, body: Manifest, *, resync: bool, retried: bool, may_ask: bool
    ) -> tuple[Plan, bool, ClusterError | None]:
        """Look, decide and act once. The plan knows of what failed; the second value: another round has no use now.

        The third is what Kubernetes answered to an action, for the caller to raise once it is said.
        """
        specification = _specification(body)
        observed = await self._observe(body, specification, resync=resync, retried=retried)
        plan = reconcile(specification, observed, self._now())
        if not may_ask:
            # It has just been done. If Restate shows no sign of it, once a pass is often enough.
            plan = replace(plan, actions=[item for item in plan.actions if not isinstance(item, Register | Cancel)])
        trouble = await self._actor.act(body, specification, plan.actions)
        failed: ClusterError | None = None
        if isinstance(trouble, ClusterError):
            failed, verdict = trouble, Verdict(kind="kubernetes", message=str(trouble))
            plan = reconcile(specification, replace(observed, verdict=verdict, resync=False), self._now())
            if plan.status is None:
                plan = _hindered(body, str(trouble), self._now())
        elif isinstance(trouble, Verdict):
            metrics.FAILURES.labels(*key_of(body), trouble.kind).inc()
            plan = reconcile(specification, replace(observed, verdict=trouble, resync=False), self._now())
        elif trouble is not None:
            since = self._silent.setdefault(key_of(body), self._now())
            observed = replace(observed, restate=Unanswered(message=trouble), silent_since=since)
            plan = reconcile(specification, observed, self._now())
            if observed.deleting_since is not None:
                last = await self._actor.act(body, specification, plan.actions)
                if isinstance(last, ClusterError):
                    failed, plan = last, _hindered(body, str(last), self._now())
        elif not isinstance(observed.restate, Unanswered):
            self._silent.pop(key_of(body), None)
        return plan, trouble is not None or not plan.actions or RemoveFinalizer() in plan.actions, failed

    async def _observe(
        self, body: Manifest, specification: Specification | InvalidSpecification, *, resync: bool, retried: bool
    ) -> Observed:
        metadata = body["metadata"]
        namespace, name = key_of(body)
        deleting = metadata.get("deletionTimestamp")
        live, keda = await self._cluster.revisions(namespace, name)
        restate = await self._look(specification, namespace, name)
        if isinstance(restate, Unanswered):
            self._silent.setdefault((namespace, name), self._now())
        return Observed(
            owner=Owner(name=name, namespace=namespace, uid=metadata["uid"]),
            generation=metadata.get("generation", 0),
            live=live,
            restate=restate,
            present=await self._present(restate, namespace, name),
            finalizer=FINALIZER in (metadata.get("finalizers") or ()),
            deleting_since=instant(deleting) if deleting else None,
            memory=memory_of(body.get("status") or {}),
            keda=keda,
            resync=resync,
            retried=retried,
            silent_since=self._silent.get((namespace, name)),
        )

    async def _present(
        self, restate: Restate | Unanswered | NotAllowed, namespace: str, name: str
    ) -> Collection[str] | None:
        """Ask which objects there are, where more than this one of its namespace have something registered."""
        deployments = restate.deployments if isinstance(restate, Restate) else ()
        if {owner_in(namespace, item.uri) for item in deployments} <= {None, name}:
            return None
        return await self._cluster.present(namespace)

    async def _look(
        self, specification: Specification | InvalidSpecification, namespace: str, name: str
    ) -> Restate | Unanswered | NotAllowed:
        if isinstance(specification, InvalidSpecification):
            return Unanswered(message="the spec cannot be used")
        if not is_listed(specification, namespace, self._consents):
            where = specification.admin_service
            service = (
                await self._cluster.service(where.namespace, where.name, foreign=where.namespace != namespace)
                if where
                else None
            )
            if why := objection(specification, namespace, service):
                return NotAllowed(message=why)
            if where and service is None:
                return Unanswered(message=f"There is no Service {where.name} in namespace {where.namespace}", gone=True)
        try:
            admin = Admin(specification.admin_url, self._admin)
            return await admin.look(own_address(name, namespace).match)
        except Unreachable as error:
            return Unanswered(
                message=f"{error}. Where a NetworkPolicy holds it, that must let the registrar's own namespace in"
            )

    async def _say(self, body: Manifest, plan: Plan) -> None:
        """Write the status where it is another one, and the events that go with it."""
        namespace, name = key_of(body)
        if plan.status is not None:
            metrics.tell(namespace, name, plan.status)
            before = body.get("status") or {}
            if any(before.get(field) != value for field, value in plan.status.items()):
                await self._cluster.set_status(namespace, name, plan.status)
        for event in plan.events:
            if not await self._cluster.tell(body, event, self._now()):
                logger.warning("%s/%s: this event was not taken: %s %s", namespace, name, event.reason, event.message)


def _hindered(body: Manifest, message: str, now: datetime) -> Plan:
    memory = memory_of(body.get("status") or {})
    said = hindered_status(memory, body["metadata"].get("generation", 0), message, now)
    return Plan(actions=(), status=said, again=_SOON, events=events(memory, said))


def _specification(body: Manifest) -> Specification | InvalidSpecification:
    try:
        return parse(body.get("spec") or {}, namespace=body["metadata"]["namespace"])
    except InvalidSpecification as error:
        return error
