"""Doing what was decided for one object, in its cluster and in its Restate."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from registrar.actions import (
    Action,
    AddFinalizer,
    Apply,
    Cancel,
    Deregister,
    Register,
    Remove,
    RemoveFinalizer,
    Scale,
    brief,
)
from registrar.admin import Admin, EndpointUnreachable, Refused, Taken
from registrar.cluster import FINALIZER, Cluster, ClusterError, Conflict, Rejected
from registrar.manifests import Key, Manifest, key_of
from registrar.observed import Verdict
from registrar.specification import InvalidSpecification, Specification
from registrar.transport import Send, Unreachable

__all__ = ["Actor"]

logger = logging.getLogger("registrar")


class Actor:
    """Does actions; `admin` carries requests to Restate. One pass at a time for one object."""

    def __init__(self, *, cluster: Cluster, admin: Send) -> None:
        self._cluster = cluster
        self._admin = admin
        # Of two newcomers with one name, the second must see what the first registered.
        self._registering: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._cancelled: defaultdict[Key, set[str]] = defaultdict(set)

    def forget(self, key: Key) -> None:
        """Keep nothing of an object that is gone."""
        self._cancelled.pop(key, None)

    async def act(
        self, body: Manifest, specification: Specification | InvalidSpecification, actions: Sequence[Action]
    ) -> Verdict | ClusterError | str | None:
        """Do the actions in order, up to the first that fails; answers why it did.

        Only KEDA's objects do not hold up the rest: a rollout must not wait for KEDA's webhook. They are told of last.
        """
        postponed: ClusterError | None = None
        for action in actions:
            try:
                trouble = await self._do(body, specification, action)
            except Conflict:
                raise
            except ClusterError as error:
                if not (isinstance(action, Apply) and action.manifest["kind"] == "ScaledObject"):
                    return error
                postponed = error
                continue
            if trouble is not None:
                return trouble
            logger.info("%s/%s: %s", *key_of(body), brief(action))
        return postponed

    async def _do(
        self, body: Manifest, specification: Specification | InvalidSpecification, action: Action
    ) -> Verdict | str | None:
        """Do one action; answers why it failed, where that is to be said."""
        try:
            if not isinstance(action, Register | Deregister | Cancel):
                await self._change(body, action)
            elif isinstance(specification, Specification):
                await self._tell_restate(body, specification, action)
        except Refused as error:
            return Verdict(kind="refused", message=str(error))
        except Taken as error:
            return Verdict(kind="taken", message=str(error))
        except EndpointUnreachable as error:
            return Verdict(kind="endpoint", message=str(error))
        except Rejected as error:
            return Verdict(kind="rejected", message=str(error))
        except Unreachable as error:
            if isinstance(action, Register | Deregister | Cancel):
                return str(error)
            raise
        return None

    async def _tell_restate(
        self, body: Manifest, specification: Specification, action: Register | Deregister | Cancel
    ) -> None:
        admin = Admin(specification.admin_url, self._admin)
        match action:
            case Register():
                async with self._registering[str(specification.admin_service or specification.admin_url)]:
                    present = await self._cluster.present(body["metadata"]["namespace"])
                    await admin.register(replace(action, claim=replace(action.claim, present=present)))
            case Deregister(deployment_id=id_):
                await admin.deregister(id_)
            case Cancel(deployment_id=id_):
                await admin.cancel(id_, self._cancelled[key_of(body)])

    async def _change(self, body: Manifest, action: Action) -> None:
        namespace, _ = key_of(body)
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
