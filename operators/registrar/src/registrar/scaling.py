"""How many pods a revision has, and who says so: we do, or KEDA through a ScaledObject."""

from collections.abc import Sequence
from typing import Literal

from registrar.actions import Action, Apply, Remove, Scale
from registrar.manifests import APPLIED, scaled_object
from registrar.observed import Live
from registrar.situation import Situation
from registrar.specification import Elastic, Fixed

__all__ = ["Role", "closing", "scaling"]

type Role = Literal["new", "serving", "draining"]


def scaling(situation: Situation, live: Live, role: Role) -> Sequence[Action]:
    """Give a revision the pods its role needs.

    A new revision is not yet KEDA's: with no registration there is no work, and Restate must find a pod to ask.
    A draining one keeps a pod while it is registered, unless the user lets services go to zero: an attempt that finds
    no pod costs the invocation one of its retries.
    """
    workload = live.workload
    if workload is None:
        return ()
    observed = situation.observed
    form = situation.specification.scaling
    name = situation.name(live.revision)
    if isinstance(form, Elastic) and observed.keda and role != "new":
        minimum = form.minimum if role == "serving" else min(1, form.minimum)
        manifest = scaled_object(observed.owner, live.revision, form, uri=workload.uri, minimum=minimum)
        if observed.resync or live.scaler != manifest["metadata"]["annotations"][APPLIED]:
            return (Apply(manifest=manifest),)
        return ()
    actions: list[Action] = []
    if live.scaler is not None:
        actions.append(Remove(kind="ScaledObject", name=name))
    if isinstance(form, Fixed):
        if workload.replicas != form.replicas:
            actions.append(Scale(name=name, replicas=form.replicas))
    elif workload.replicas < (floor := max(1, form.minimum)):
        actions.append(Scale(name=name, replicas=floor))
    return actions


def closing(situation: Situation, live: Live) -> Sequence[Action]:
    """Take a revision's pods away. KEDA's object goes first: it would bring them back."""
    actions: list[Action] = []
    name = situation.name(live.revision)
    if live.scaler is not None:
        actions.append(Remove(kind="ScaledObject", name=name))
    if live.workload and live.workload.replicas:
        actions.append(Scale(name=name, replicas=0))
    return actions
