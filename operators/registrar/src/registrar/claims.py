"""Whose a service name is, in a Restate that several may register in."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from registrar.revisions import owner_in, owner_of

__all__ = ["Claim"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The service names that an object may have: free ones, those of `owners` in its namespace, and those it names.

    `owners` are names of `RestateService`s; the object itself is one of them. So are those that are gone or going, and
    left theirs behind: which are not among the `present`.
    """

    namespace: str
    owners: Sequence[str]
    named: Sequence[str] = ()
    present: Collection[str] | None = None

    def conflicts(
        self, services: Sequence[str], latest: Mapping[str, str], uris: Mapping[str, str]
    ) -> Sequence[tuple[str, str]]:
        """Find the names that are somebody else's, each with who has it.

        `latest` has the deployment id that new calls of a service go to, `uris` the addresses of deployments.
        """
        found = []
        for name in services:
            uri = uris.get(latest.get(name, ""), "an unknown address")
            if name in latest and name not in self.named and not self._owns(uri):
                found.append((name, f"{owner_of(uri)} ({latest[name]} at {uri})"))
        return found

    def _owns(self, uri: str) -> bool:
        owner = owner_in(self.namespace, uri)
        return owner in self.owners or (owner is not None and self.present is not None and owner not in self.present)
