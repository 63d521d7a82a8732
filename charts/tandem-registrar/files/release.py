"""After an uninstall: takes the registrar's finalizer off every RestateService, so that anybody can delete them.

First it waits until no registrar runs that would put the finalizer back.
"""  # noqa: INP001  # a program of the chart, in no package

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
FINALIZER = "tandem.dev/registrar"
PATIENCE = 120.0

type Ask = Callable[[str, str, Any], Any]


def ask(method: str, path: str, body: Any = None) -> Any:
    """Ask Kubernetes, as this pod's account; raises `urllib.error.HTTPError`."""
    request = urllib.request.Request(
        f"https://kubernetes.default.svc{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}",
            "Content-Type": "application/merge-patch+json",
        },
    )
    context = ssl.create_default_context(cafile=ACCOUNT / "ca.crt")
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310  # https, as above
        return json.load(answer)


def held(ask: Ask, namespaces: Sequence[str]) -> Iterator[Any]:
    """Every RestateService with the finalizer: of these namespaces, or of all. None where the kind itself is gone."""
    for where in [f"/namespaces/{name}" for name in namespaces] or [""]:
        try:
            found = ask("GET", f"/apis/tandem.dev/v1alpha1{where}/restateservices", None)
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.NOT_FOUND:
                raise
            return
        yield from (item for item in found["items"] if FINALIZER in item["metadata"].get("finalizers", []))


def release(ask: Ask, metadata: Any) -> None:
    """Take the finalizer off one object; if it changed or went meanwhile, the next list says so."""
    body = {
        "metadata": {
            "resourceVersion": metadata["resourceVersion"],
            "finalizers": [name for name in metadata["finalizers"] if name != FINALIZER],
        }
    }
    path = f"/apis/tandem.dev/v1alpha1/namespaces/{metadata['namespace']}/restateservices/{metadata['name']}"
    try:
        ask("PATCH", path, body)
    except urllib.error.HTTPError as error:
        if error.code not in {HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND}:
            raise


def main(ask: Ask, namespace: str, selector: str, namespaces: Sequence[str], pause: Callable[[], None]) -> str | None:
    """Release them all; answers what is in the way when patience is over. `pause` waits between two looks."""
    deadline = time.monotonic() + PATIENCE
    pods = f"/api/v1/namespaces/{namespace}/pods?labelSelector={urllib.parse.quote(selector)}"
    while True:
        running = [item["metadata"]["name"] for item in ask("GET", pods, None)["items"]]
        services = [] if running else list(held(ask, namespaces))
        if not running and not services:
            return None
        for service in services:
            release(ask, service["metadata"])
        if time.monotonic() > deadline:
            left = running or [service["metadata"]["name"] for service in services]
            return f"These did not go within {PATIENCE:g} s, so RestateServices may wait for a registrar: {left}"
        pause()


if __name__ == "__main__":
    sys.exit(
        main(
            ask,
            os.environ["NAMESPACE"],
            os.environ["SELECTOR"],
            [name for name in os.environ["NAMESPACES"].split(",") if name],
            lambda: time.sleep(1),
        )
    )
