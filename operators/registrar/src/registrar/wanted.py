"""The revision that the spec asks for: made, waited for, registered, seen to be the latest."""

from collections.abc import Sequence
from dataclasses import replace

from registrar.actions import Action, Apply, Register
from registrar.claims import Claim
from registrar.manifests import APPLIED, deployment, service
from registrar.observed import Live, Phase, Registered, Unanswered
from registrar.scaling import Role, scaling
from registrar.situation import Finding, Situation, Standing
from registrar.specification import Elastic

__all__ = ["wanted"]


def wanted(situation: Situation) -> tuple[Finding, Standing]:
    """Decide on the wanted revision."""
    observed, revision = situation.observed, situation.wanted
    before = situation.before(revision)
    finding = Finding(
        name=situation.name(revision),
        revision=revision,
        uri=situation.wanted_uri,
        phase=before.phase if before and before.phase in ("Active", "Registering", "Refused") else "Progressing",
        since=situation.now,
        registered=situation.own.get(revision),
        pinned=situation.pinned(situation.own.get(revision)),
    )
    if finding.phase == "Refused" and situation.changed:
        # Whatever keeps this pass from asking, it is still to be asked: another spec may have what the last had not.
        finding = replace(finding, phase="Registering")
    finding = replace(finding, since=situation.since(revision, finding.phase))
    if (rejected := _rejected(situation)) is not None:
        return finding, Standing(ready=False, reason="Rejected", message=rejected, stalled=True)
    live = situation.live.get(revision)
    actions = _objects(situation, live)
    if live is None or live.workload is None:
        finding = replace(_in_phase(situation, finding, "Progressing"), actions=actions)
        return finding, Standing(ready=False, reason="Progressing", message=f"Revision {finding.name} is being made")
    if isinstance(observed.restate, Unanswered):
        role: Role = "serving" if finding.phase == "Active" else "new"
        actions = [*actions, *scaling(situation, live, role)]
        return replace(finding, actions=actions), Standing(
            ready=False, reason="AdminUnreachable", message=observed.restate.message
        )
    return _registration(situation, replace(finding, actions=actions), live)


def _registration(situation: Situation, finding: Finding, live: Live) -> tuple[Finding, Standing]:
    registered = finding.registered
    if registered and situation.is_latest(registered) and _described(situation, registered):
        finding = _in_phase(situation, finding, "Active")
        finding = replace(finding, actions=[*finding.actions, *scaling(situation, live, "serving")])
        return finding, _serving(situation, finding, live)
    if registered and (message := _lost(situation, registered)):
        finding = replace(_in_phase(situation, finding, "Refused"), message=message)
        finding = replace(finding, actions=[*finding.actions, *scaling(situation, live, "serving")])
        return finding, Standing(ready=False, reason="ServiceTaken", message=message, stalled=True)
    finding = replace(finding, actions=[*finding.actions, *scaling(situation, live, "new")])
    if live.workload is None or not live.workload.ready:
        return _waiting(situation, _in_phase(situation, finding, "Progressing"), live)
    return _registering(situation, finding)


def _lost(situation: Situation, registered: Registered) -> str:
    """Say who took a name of the wanted revision. It is taken back where the spec may, and asks for that anew.

    Two that may take a name from each other would else do so for ever.
    """
    before = situation.before(situation.wanted)
    owner, present = situation.observed.owner, situation.observed.present
    own = Claim(namespace=owner.namespace, owners=(owner.name,), present=present)
    taken = situation.taken(registered, own)
    settled = before is not None and before.phase in ("Active", "Refused") and not situation.changed
    if not taken or not (settled or situation.taken(registered, situation.claim)):
        return ""
    lost = ", ".join(f"of {name} go to {whose}" for name, whose in taken)
    return (
        f"New calls {lost}. Remove that deployment from Restate, rename one of the two, or take over by name, with "
        f"spec.takeOver: [{', '.join(name for name, _ in taken)}]"
    )


def _registering(situation: Situation, finding: Finding) -> tuple[Finding, Standing]:
    """Ask Restate for the registration, or say why it did not happen."""
    observed, specification = situation.observed, situation.specification
    verdict, before = observed.verdict, situation.before(finding.revision)
    if verdict and verdict.kind == "taken":
        finding = replace(_in_phase(situation, finding, "Refused"), message=verdict.message)
        return finding, Standing(ready=False, reason="ServiceTaken", message=verdict.message, stalled=True)
    refusal = verdict.message if verdict and verdict.kind == "refused" else ""
    known = before is not None and before.phase == "Refused" and observed.memory.reason("Stalled") == "Refused"
    if not refusal and before and known and not (situation.changed or observed.resync):
        # Asking again would get the same answer: only another spec, or time, can change it.
        refusal = before.message
    if refusal:
        finding = replace(_in_phase(situation, finding, "Refused"), message=refusal)
        return finding, Standing(ready=False, reason="Refused", message=refusal, stalled=True)
    finding = _in_phase(situation, finding, "Registering")
    if verdict and verdict.kind == "endpoint":
        late = situation.elapsed(finding.revision, "Registering") >= specification.progress_deadline
        finding = replace(finding, message=verdict.message)
        return finding, Standing(ready=False, reason="EndpointUnreachable", message=verdict.message, stalled=late)
    register = Register(
        uri=finding.uri,
        force=finding.registered is not None,
        http1=specification.endpoint.protocol == "http1",
        additional_headers=specification.endpoint.additional_headers,
        metadata=specification.metadata,
        claim=situation.claim,
    )
    finding = replace(finding, actions=[*finding.actions, register])
    return finding, Standing(ready=False, reason="Registering", message=f"Revision {finding.name} is being registered")


def _waiting(situation: Situation, finding: Finding, live: Live) -> tuple[Finding, Standing]:
    available = live.workload.available if live.workload else 0
    replicas = live.workload.replicas if live.workload else 0
    message = f"Revision {finding.name}: {available} of {replicas} pods are available"
    if live.trouble:
        message = f"{message}; {'; '.join(live.trouble)}"
    deadline = situation.specification.progress_deadline
    late = situation.elapsed(finding.revision, "Progressing") >= deadline
    if late:
        message = f"{message}. It has had its {deadline} s (spec.progressDeadlineSeconds)"
    finding = replace(finding, message=message)
    reason = "ProgressDeadlineExceeded" if late else "Progressing"
    return finding, Standing(ready=False, reason=reason, message=message, stalled=late)


def _serving(situation: Situation, finding: Finding, live: Live) -> Standing:
    form, workload = situation.specification.scaling, live.workload
    at_zero = isinstance(form, Elastic) and form.minimum == 0 and workload is not None and workload.replicas == 0
    if at_zero or (workload and workload.available):
        id_ = finding.registered.id if finding.registered else ""
        return Standing(ready=True, reason="Registered", message=f"{finding.name} is the latest in Restate, as {id_}")
    trouble = f": {'; '.join(live.trouble)}" if live.trouble else ""
    return Standing(
        ready=False, reason="PodsUnavailable", message=f"{finding.name} is registered, but has no pod{trouble}"
    )


def _objects(situation: Situation, live: Live | None) -> Sequence[Action]:
    observed, specification = situation.observed, situation.specification
    wanted_service = service(observed.owner, situation.wanted, specification)
    wanted_deployment = deployment(observed.owner, situation.wanted, specification)
    there = (live.service, live.workload.applied if live.workload else None) if live else (None, None)
    return [
        Apply(manifest=manifest)
        for manifest, digest in zip((wanted_service, wanted_deployment), there, strict=True)
        if observed.resync or digest != manifest["metadata"]["annotations"][APPLIED]
    ]


def _rejected(situation: Situation) -> str | None:
    """What Kubernetes said when it rejected what this spec makes, if it did."""
    observed = situation.observed
    if observed.verdict and observed.verdict.kind == "rejected":
        return observed.verdict.message
    if observed.memory.reason("Stalled") != "Rejected" or situation.changed or observed.resync or observed.retried:
        return None
    return next(str(item["message"]) for item in observed.memory.conditions if item["type"] == "Stalled")


def _described(situation: Situation, registered: Registered) -> bool:
    """Whether Restate has the metadata of the spec. It is compared when the spec changes, and now and then."""
    before = situation.before(situation.wanted)
    settled = before is not None and before.phase == "Active" and not (situation.changed or situation.observed.resync)
    return settled or dict(registered.metadata) == dict(situation.specification.metadata)


def _in_phase(situation: Situation, finding: Finding, phase: Phase) -> Finding:
    return replace(finding, phase=phase, since=situation.since(finding.revision, phase))
