"""A startup probe that ends when its process has started: one that failed each second would be as many Warning events.

Waits until the process is alive, and then until it is ready, for thirty seconds at most, and no longer than half of what
a start may take: readiness has a probe of its own, and nothing is started again for what it waits for.
"""  # noqa: INP001  # a program of the chart, in no package

import http.client
import sys
import time

READY_SECONDS = min(30.0, float(sys.argv[2]) / 2)


def says(what: str) -> bool:
    """Whether the process answers on this pod's port that it is so."""
    connection = http.client.HTTPConnection("localhost", int(sys.argv[1]), timeout=5)
    try:
        connection.request("GET", f"/-/{what}")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


deadline = time.monotonic() + READY_SECONDS
while not says("alive"):
    time.sleep(0.2)
while not says("ready") and time.monotonic() < deadline:
    time.sleep(0.2)
