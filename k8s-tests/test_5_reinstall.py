"""Taken away and put back: the data is kept, and nothing stands in the way."""

import pytest

from conftest import Figures
from installation import Installation, until


@pytest.mark.long
def test_uninstalled_and_installed_again_with_its_data(platform: Installation, figures: Figures) -> None:
    execution = platform.enqueue("plain", 7, engine="restate")
    assert platform.finished(execution) == "succeeded"
    with figures.timed("uninstall of both charts"):
        platform.uninstall()
        platform.uninstall_registrar()
    left = platform.get("deployments,statefulsets,services,jobs,scaledobjects")["items"]
    assert {each["metadata"]["name"] for each in left} <= {"inbox"}
    with figures.timed("both charts Ready again, with the data"):
        platform.install_registrar()
        platform.install()
    assert platform.phase(execution) == "succeeded"
    for engine in ("celery", "restate"):
        assert platform.finished(platform.enqueue("plain", 1, engine=engine)) == "succeeded"
    until(lambda: len(platform.pods("service")) >= 1, "no service runs")


@pytest.mark.long
def test_the_registrar_gone_first_does_not_wedge_an_uninstall(platform: Installation) -> None:
    platform.uninstall_registrar()
    platform.uninstall()
    platform.install_registrar()
    platform.install()
    assert platform.finished(platform.enqueue("plain", 1, engine="restate")) == "succeeded"
