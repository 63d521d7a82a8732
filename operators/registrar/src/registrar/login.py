"""Requests to Kubernetes as the service account, or as the kubeconfig's user outside of a cluster."""

import time
from dataclasses import replace
from typing import Final

import kopf

from registrar.transport import Answer, Connections, Request

__all__ = ["KubernetesConnections", "NoCredentials"]

# The kubelet renews a token long before it ends.
_TOKEN_SECONDS: Final = 300.0
_UNAUTHORIZED: Final = 401


class NoCredentials(Exception):
    """There is no service account and no kubeconfig, or they cannot be read."""


class KubernetesConnections:
    """Sends requests with kopf's credentials; `url` is where the API is."""

    def __init__(self, settings: kopf.OperatorSettings) -> None:
        self._settings = settings
        self._read_at = time.monotonic()
        found = self._read()
        self.url = found.server
        self._connections = Connections("kubernetes", verify=found.as_ssl_context())
        self._headers = found.as_http_headers()

    async def send(self, request: Request) -> Answer:
        """Send with the token of now; raises `Unreachable`."""
        if time.monotonic() - self._read_at > _TOKEN_SECONDS:
            self._renew()
        answer = await self._connections.send(replace(request, headers={**self._headers, **request.headers}))
        if answer.status == _UNAUTHORIZED:
            self._renew()
        return answer

    async def close(self) -> None:
        """Close the connections."""
        await self._connections.close()

    def _renew(self) -> None:
        self._headers = self._read().as_http_headers()
        self._read_at = time.monotonic()

    def _read(self) -> kopf.ConnectionInfo:
        try:
            found = kopf.login_with_service_account(settings=self._settings)
            found = found or kopf.login_with_kubeconfig(settings=self._settings)
        except OSError as error:
            raise NoCredentials(f"The kubeconfig or the service account cannot be read: {error}") from error
        if found is None:
            raise NoCredentials(
                "There is no service account in /var/run/secrets/kubernetes.io and no kubeconfig: run in a cluster, or "
                "set KUBECONFIG"
            )
        return found
