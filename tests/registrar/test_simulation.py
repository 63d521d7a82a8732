"""A thousand random lives against Kubernetes and Restate in memory: each comes to rest, and nothing pinned is lost."""

import asyncio

import pytest

from tests.registrar.kubernetes_model import KubernetesModel
from tests.registrar.restate_model import RestateModel
from tests.registrar.sequences import SERVICES, Clock, Life


def life(seed: int) -> Life:
    clock = Clock()
    restate = RestateModel(
        available=lambda uri: kubernetes.available(uri),  # noqa: PLW0108  # the two know each other
        services=lambda uri: SERVICES[kubernetes.image(uri)],
    )
    kubernetes = KubernetesModel(now=clock, work=restate.work, registered=restate.registered)
    return Life(seed=seed, clock=clock, kubernetes=kubernetes, restate=restate)


@pytest.mark.parametrize("hundred", range(10))
def test_every_sequence_converges(hundred: int) -> None:
    async def live() -> None:
        for seed in range(100 * hundred, 100 * hundred + 100):
            await life(seed).run()

    asyncio.run(live())
