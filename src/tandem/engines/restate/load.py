"""How much work each deployment has, as Restate itself counts it: what the autoscaler reads.

What Restate would send to a deployment is what is pinned to it and, where it is the latest, what is pinned to none.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tandem.ledger.operating.load import Load

__all__ = ["LOAD", "by_deployment"]

# A row waits for a place (`pending`, `ready`, `backing-off`) or holds one. Those that sleep or wait are `suspended`.
LOAD: Final = """
SELECT deployment.endpoint AS endpoint, invocation.status AS status, count(*) AS n
FROM sys_invocation AS invocation
LEFT JOIN sys_service AS service ON service.name = invocation.target_service_name
JOIN sys_deployment AS deployment
  ON deployment.id = COALESCE(invocation.pinned_deployment_id, service.deployment_id)
WHERE invocation.status IN ('pending', 'ready', 'running', 'backing-off')
GROUP BY deployment.endpoint, invocation.status
"""


def by_deployment(rows: Iterable[Mapping[str, Any]]) -> Mapping[str, Load]:
    """Add up what `LOAD` answered, by the URL that a deployment was registered with."""
    loads: dict[str, Load] = {}
    for row in rows:
        found = Load(running=row["n"]) if row["status"] == "running" else Load(queued=row["n"])
        endpoint = row["endpoint"].rstrip("/")
        loads[endpoint] = loads.get(endpoint, Load()) + found
    return loads
