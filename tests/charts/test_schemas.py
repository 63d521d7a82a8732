import subprocess

import pytest
import yaml

from local_node.programs import program
from tests.charts.objects import named, of_kind
from tests.charts.rendering import CHARTS, MATRIX, Case, Object, helm, render, rendered
from tests.charts.schemas import schemas


def conform(*objects: Object) -> str:
    """What kubeconform says against these objects; nothing when they are right."""
    answer = subprocess.run(
        [program("kubeconform"), "-strict", "-schema-location", schemas(), "-"],
        input=yaml.dump_all(objects, Dumper=yaml.CSafeDumper),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert bool(answer.returncode) is bool(answer.stdout)
    return answer.stdout


@pytest.mark.parametrize("case", MATRIX, ids=str)
def test_every_object_is_what_its_kind_says(case: Case) -> None:
    objects = rendered(case)
    templates: list[Object] = [
        {
            "apiVersion": "v1",
            "kind": "PodTemplate",
            "metadata": service["metadata"],
            "template": service["spec"]["template"],
        }
        for service in of_kind(objects, "RestateService")
    ]
    assert conform(*objects, *templates) == ""


def test_a_field_that_does_not_exist_is_found() -> None:
    deployment = {**named(rendered(MATRIX[0]), "Deployment", "shop-web")}
    deployment["spec"] = {**deployment["spec"], "replica": 1}
    assert "replica" in conform(deployment)


def test_a_field_of_a_custom_resource_that_does_not_exist_is_found() -> None:
    (scaled, *_) = of_kind(rendered(MATRIX[0]), "ScaledObject")
    assert "minReplicas" in conform({**scaled, "spec": {**scaled["spec"], "minReplicas": 1}})


@pytest.mark.parametrize("case", MATRIX, ids=str)
def test_lint_finds_nothing(case: Case) -> None:
    helm("lint", "--strict", CHARTS / case.chart, "--values", case.file)


@pytest.mark.parametrize("case", MATRIX, ids=str)
def test_rendering_again_gives_the_same_but_for_random_secrets(case: Case) -> None:
    again = render(case)
    for objects in (again, first := list(rendered(case))):
        random = of_kind(objects, "Secret")
        objects[:] = [{**one, "stringData": sorted(one["stringData"])} if one in random else one for one in objects]
    assert again == first
