"""Fifty random lives against a real Restate's admin API, with real endpoints; only Kubernetes is in memory."""

import asyncio
from collections.abc import Iterator

import pytest

from tandem.embedded.ports import Ports
from tandem.embedded.stack import Stack
from tests.registrar.kubernetes_model import KubernetesModel
from tests.registrar.real_restate import Endpoints, RealRestate
from tests.registrar.sequences import SERVICES, Clock, Life

type Parts = tuple[Stack, Endpoints]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """A Restate of our own: what it knows is part of the test."""
    ports = Ports.free()
    stack = Stack(data=tmp_path_factory.mktemp("registrar"), ports=ports, only=("restate",))
    with Endpoints(ports.service) as served, stack:
        yield stack, served


async def live(parts: Parts, seed: int) -> None:
    stack, served = parts
    clock = Clock()
    restate = RealRestate(
        admin=stack.addresses["TANDEM_RESTATE_ADMIN_URL"],
        ingress=stack.addresses["TANDEM_RESTATE_INGRESS_URL"],
        port=served.port,
        types=lambda uri: SERVICES[kubernetes.image(uri)],
    )
    kubernetes = served.kubernetes = KubernetesModel(now=clock, work=lambda _: 1, registered=restate.registered)
    try:
        await Life(seed=seed, clock=clock, kubernetes=kubernetes, restate=restate, most=9).run()
    finally:
        await restate.close()


@pytest.mark.parametrize("ten", range(5))
def test_every_sequence_converges_with_a_real_restate(parts: Parts, ten: int) -> None:
    async def all_of_them() -> None:
        for seed in range(10 * ten, 10 * ten + 10):
            async with asyncio.timeout(60):
                await live(parts, seed)

    asyncio.run(all_of_them())
