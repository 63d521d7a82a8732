"""Print the lines of code of each part of the core, and fail where a module has more than 300 lines of text.

Not counted: blanks, comments, docstrings, migrations, and SQL text; nor the local stack and telemetry, which are no part
of the core.
"""

import ast
import io
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src" / "tandem"
LEFT_OUT = {"embedded", "telemetry", "web", "celery", "schedules", "migrations"}
MOST_LINES = 300
LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def left_out(tree: ast.AST, *, has_sql: bool) -> Iterator[int]:
    """Number the lines of docstrings and, in the ledger, of SQL but its first line."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and body:
            match body[0]:
                case ast.Expr(value=ast.Constant(value=str())) as words:
                    yield from range(words.lineno, (words.end_lineno or words.lineno) + 1)
        if has_sql and isinstance(node, ast.Constant | ast.JoinedStr):
            yield from range(node.lineno + 1, (node.end_lineno or node.lineno) + 1)


def lines_of(path: Path) -> int:
    """Count a module's lines of code."""
    text, lines = path.read_text(), set[int]()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in LAYOUT:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - set(left_out(ast.parse(text), has_sql="ledger" in path.parts)))


def main() -> int:
    """Print the table; answers 1 where a module is too long."""
    parts, long = Counter[str](), list[str]()
    for path in sorted(SOURCE.rglob("*.py")):
        place = path.relative_to(SOURCE)
        if LEFT_OUT.isdisjoint(place.parts[:1]):
            folder = place.parent if place.parts[0] == "engines" else Path(place.parts[0])
            parts[str(folder)] += lines_of(path)
        if len(path.read_text().splitlines()) > MOST_LINES:
            long.append(str(place))
    width = max(map(len, parts))
    for part, count in parts.most_common():
        print(f"  {part:<{width}} {count:>6,}")
    print(f"  {'the core':<{width}} {parts.total():>6,} lines of code")
    if long:
        print(f"More than {MOST_LINES} lines of text: {', '.join(long)}.")
    return int(bool(long))


if __name__ == "__main__":
    sys.exit(main())
