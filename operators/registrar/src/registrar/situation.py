"""What follows from what is observed: the questions that decisions about revisions ask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from registrar.actions import Action
from registrar.claims import Claim
from registrar.observed import Live, Observed, Phase, Pinned, Registered, Remembered, Restate
from registrar.revisions import address, object_name, own_address, revision_of
from registrar.specification import Specification

__all__ = ["Finding", "Situation", "Standing"]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Whether the wanted revision serves, and why not; `stalled`: waiting will not help.

    `hindrance` is the reason and message of what is wrong though waiting may help.
    """

    ready: bool
    reason: str
    message: str
    stalled: bool = False
    hindrance: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is to be said of a revision, and done to it. `blocks` says why it cannot be let go."""

    name: str
    revision: str
    phase: Phase
    since: datetime
    uri: str = ""
    registered: Registered | None = None
    pinned: Pinned | None = None
    message: str = ""
    blocks: str = ""
    actions: Sequence[Action] = ()


@dataclass(frozen=True, kw_only=True)
class Situation:
    """The spec, what is observed, and the time."""

    specification: Specification
    observed: Observed
    now: datetime

    @cached_property
    def wanted(self) -> str:
        """The hash of the revision that the spec asks for."""
        return revision_of(self.specification)

    @cached_property
    def restate(self) -> Restate | None:
        """What Restate said, if it did."""
        return self.observed.restate if isinstance(self.observed.restate, Restate) else None

    @cached_property
    def own(self) -> Mapping[str, Registered]:
        """Our registrations, by revision."""
        owner = self.observed.owner
        pattern = own_address(owner.name, owner.namespace)
        deployments = self.restate.deployments if self.restate else ()
        return {match["revision"]: item for item in deployments if (match := pattern.match(item.uri))}

    @cached_property
    def live(self) -> Mapping[str, Live]:
        """Our objects, by revision."""
        return {item.revision: item for item in self.observed.live}

    @cached_property
    def others(self) -> Sequence[str]:
        """All revisions but the wanted one, the one that was wanted last first."""
        order = [item.name for item in self.observed.memory.revisions]
        known = (self.live.keys() | self.own.keys()) - {self.wanted}

        def place(revision: str) -> tuple[int, float]:
            name = self.name(revision)
            live = self.live.get(revision)
            return (
                order.index(name) if name in order else len(order),
                -live.created.timestamp() if live else 0.0,
            )

        return sorted(sorted(known), key=place)

    @cached_property
    def changed(self) -> bool:
        """Whether the spec is another one than the last that was decided on."""
        memory = self.observed.memory
        undecided = memory.reason("Stalled") in ("NotAllowed", "InvalidSpecification")
        return undecided or self.observed.generation != memory.observed_generation

    def name(self, revision: str) -> str:
        """What a revision's objects are called."""
        return object_name(self.observed.owner.name, revision)

    @cached_property
    def wanted_uri(self) -> str:
        """What the wanted revision is registered with."""
        owner = self.observed.owner
        return address(owner.name, owner.namespace, self.wanted, self.specification.endpoint)

    def before(self, revision: str) -> Remembered | None:
        """What the last status said of a revision."""
        return self.observed.memory.of(self.name(revision))

    def since(self, revision: str, phase: Phase) -> datetime:
        """When a revision came into a phase that it is in now."""
        before = self.before(revision)
        return before.since if before and before.phase == phase else self.now

    def elapsed(self, revision: str, phase: Phase) -> float:
        """For how many seconds a revision has been in a phase."""
        return (self.now - self.since(revision, phase)).total_seconds()

    def holds(self, registered: Registered | None) -> Sequence[str]:
        """The services whose new calls go to a deployment."""
        if registered is None or self.restate is None:
            return ()
        return sorted(name for name, latest in self.restate.latest.items() if latest == registered.id)

    def is_latest(self, registered: Registered) -> bool:
        """Whether new calls of all its services go to a deployment."""
        return bool(registered.services) and set(registered.services) <= set(self.holds(registered))

    @cached_property
    def claim(self) -> Claim:
        """The service names that this object may have."""
        owner, specification = self.observed.owner, self.specification
        owners = (owner.name, *specification.siblings)
        present = self.observed.present
        return Claim(namespace=owner.namespace, owners=owners, named=specification.take_over, present=present)

    def taken(self, registered: Registered, claim: Claim) -> Sequence[tuple[str, str]]:
        """The services of a deployment whose new calls go to somebody else's, each with whose, where `claim` has them not."""
        if self.restate is None:
            return ()
        uris = {item.id: item.uri for item in self.restate.deployments}
        return claim.conflicts(registered.services, self.restate.latest, uris)

    def pinned(self, registered: Registered | None) -> Pinned | None:
        """The invocations that hold a deployment, if any does."""
        if registered is None or self.restate is None:
            return None
        found = self.restate.pinned.get(registered.id)
        return found if found and found.count else None
