"""Several entries of `services`: what each process takes, and that the check of its pods asks for the same."""

import json

from tests.charts.objects import Pod, environment, named, pods
from tests.charts.rendering import CHARTS, MINIMAL, Object, case, render, rendered

SEVERAL = {"emails": {"take": ["Emails", "files.process"]}, "reports": {"take": ["Reports"]}}


def shares(objects: list[Object] | tuple[Object, ...]) -> dict[str, list[str]]:
    """What each RestateService's process is told of its share, once its check is seen to be told the same."""
    found = {}
    for pod in pods(objects):
        if pod.owner["kind"] == "RestateService":
            (checked,) = [each for each in pod.spec["initContainers"] if each["name"] == "check-required"]
            found[pod.owner["metadata"]["name"]] = share = told(pod.spec["containers"][0])
            assert checked["args"][:4] == ["tandem", "require", "routes", "services"]
            assert told(checked) == share
    return found


def told(container: Object) -> list[str]:
    return [word for word in container["args"] if word.startswith(("--take", "--except"))]


def test_one_entry_serves_everything() -> None:
    assert shares(rendered(MINIMAL)) == {"trial": []}


def test_each_entry_takes_its_own_and_one_the_rest() -> None:
    assert shares(render(MINIMAL, services=SEVERAL)) == {
        "trial": ["--except=Emails", "--except=Reports", "--except=files.process"],
        "trial-emails": ["--take=Emails", "--take=files.process"],
        "trial-reports": ["--take=Reports"],
    }


def test_what_a_disabled_entry_takes_is_the_rests() -> None:
    assert shares(rendered(case("tandem", "all"))) == {
        "shop": ["--except=Closing.Of-Month", "--except=reports"],
        "shop-reports": ["--take=Closing.Of-Month", "--take=reports"],
    }


def test_every_process_of_a_release_knows_its_prefix() -> None:
    objects = rendered(case("tandem", "external"))
    django: list[Pod] = [
        pod for pod in pods(objects) if pod.component in {"web", "worker", "service", "relay", "exporter"}
    ]
    assert len(django) == 5
    for pod in django:
        assert environment(pod.spec["containers"][0])["TANDEM_RESTATE_PREFIX"] == "shop", str(pod)
    plain = named(rendered(MINIMAL), "Deployment", "trial-relay")["spec"]["template"]["spec"]["containers"][0]
    assert "TANDEM_RESTATE_PREFIX" not in environment(plain)


def test_an_entry_has_every_option_of_the_defaults() -> None:
    schema = json.loads((CHARTS / "tandem" / "values.schema.json").read_text())
    entry, defaults = schema["properties"]["services"]["additionalProperties"], schema["$defs"]["service"]
    assert set(entry["properties"]) == {"take", *defaults["properties"]}
