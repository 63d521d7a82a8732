"""What the documents name is there: paths, what is in them, the layers of imports, links, and make's targets."""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
CORE: Final = ROOT / "src" / "tandem"
PAGES: Final = ("README.md", "CONTRIBUTING.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md"))))
NAMING: Final = ("CONTRIBUTING.md", "docs/architecture.md")
"""The pages that name files, relative to `src/tandem` or to the root."""

FENCED: Final = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
NAMED: Final = re.compile(r"`([\w./-]+(?:/|\.(?:py|md|toml|json|yaml|typed)))(?::([\w.]+))?`")
DRAWN: Final = re.compile(r"[\w./-]+\.py")


def text_of(page: str) -> str:
    return (ROOT / page).read_text()


def named(page: str) -> list[tuple[str, str]]:
    return NAMED.findall(FENCED.sub("", text_of(page)))


def found(path: str) -> Path | None:
    return next((base / path for base in (CORE, ROOT) if (base / path).exists()), None)


@cache
def defined(path: Path) -> frozenset[str]:
    """Every function, class and constant of a module, and of its classes."""
    return frozenset(_defined(ast.parse(path.read_text()).body, ""))


def _defined(body: list[ast.stmt], before: str) -> Iterator[str]:
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.TypeAlias(name=ast.Name(id=name)):
                yield before + name
            case ast.ClassDef(name=name):
                yield before + name
                yield from _defined(node.body, f"{before}{name}.")
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                yield before + name


@pytest.mark.parametrize("page", NAMING)
def test_what_a_page_names_is_there(page: str) -> None:
    missing = []
    for path, name in named(page):
        there = found(path)
        if there is None or (name and name not in defined(there)):
            missing.append(f"{path}:{name}" if name else path)
    assert named(page), "the page names no file: this test reads it wrongly"
    assert missing == []


def test_what_the_picture_shows_is_there() -> None:
    picture = FENCED.findall(text_of("docs/architecture.md"))[0]
    drawn = DRAWN.findall(picture)
    assert len(drawn) > 7
    assert [path for path in drawn if found(path) is None and not list(CORE.rglob(path))] == []


def test_each_room_at_the_top_is_listed() -> None:
    rooms = {path.name + "/" * path.is_dir() for path in CORE.iterdir() if path.name != "__pycache__"}
    assert rooms - {path for path, _ in named("docs/architecture.md")} == set(), (
        "say in docs/architecture.md what it is"
    )


def test_the_layers_are_the_contract() -> None:
    contracts = tomllib.loads(text_of("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    (shown,) = re.findall(r"^```layers\n(.*?)^```$", text_of("docs/architecture.md"), re.DOTALL | re.MULTILINE)
    assert shown.splitlines() == [layer.replace("tandem.", "") for layer in layers]


def test_the_glossary_is_in_order() -> None:
    words = re.findall(r"^- \*\*(.+?)\*\*: ", text_of("docs/glossary.md"), re.MULTILINE)
    assert len(words) > 50
    assert words == sorted(words, key=str.lower)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    broken = []
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", FENCED.sub("", text_of(page))):
        path, _, anchor = target.partition("#")
        there = ROOT / page if not path else (ROOT / page).parent / path
        if not there.exists() or (anchor and anchor not in _anchors(there.read_text())):
            broken.append(target)
    assert broken == []


def _anchors(text: str) -> list[str]:
    """The anchors that GitHub makes of headings."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_contributing_names_targets_that_make_has() -> None:
    targets = re.findall(r"^([a-z][a-z0-9-]*):(?!=)", text_of("Makefile"), re.MULTILINE)
    text = text_of("CONTRIBUTING.md")
    shown = set(re.findall(r"(?:`|^\$ )make ([a-z][a-z0-9-]*)", text, re.MULTILINE))
    assert shown
    assert shown - set(targets) == set()
    assert set(targets) - shown - {"help"} == set(), "say in CONTRIBUTING.md what the target is for"
