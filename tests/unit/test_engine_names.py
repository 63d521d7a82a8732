"""No module but an engine's own, its commands and its settings holds an engine's name: a third one needs none."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "tandem"
NAME = re.compile(r"\b(celery|restate)\b", re.IGNORECASE)
# What starts or names the two: their folders, the local stack, the commands, the settings' defaults and addresses.
OWN = ("engines/celery", "engines/restate", "engines/factory.py", "embedded", "management")
SETTINGS = ("configuration", "addresses.py")


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The literal texts of a module, SQL among them, but its docstrings."""
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def test_no_other_module_names_an_engine() -> None:
    found = [
        f"{place}:{line} {text[:60]!r}"
        for path in sorted(SOURCE.rglob("*.py"))
        if not (place := str(path.relative_to(SOURCE))).startswith((*OWN, *SETTINGS))
        for line, text in texts(path)
        if NAME.search(text)
    ]
    assert found == []
