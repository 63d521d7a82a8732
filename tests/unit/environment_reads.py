"""Which environment variables code reads, by its syntax tree: `os.environ` and what names it, and the keys it is asked for."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["ANY", "environment_reads"]

ANY: Final = "*"
"""Stands in a name for what is only known where the code runs."""

_READERS: Final = {"get", "pop", "setdefault"}
_COMPREHENSIONS: Final = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
type Function = ast.FunctionDef | ast.AsyncFunctionDef


def environment_reads(folder: Path) -> tuple[set[str], set[str]]:
    """The variables that the modules of a folder read, and the modules that read some whose names are not to be found."""
    found: set[str] = set()
    unnamed: set[str] = set()
    for path in sorted(folder.rglob("*.py")):
        for names in _Module(ast.parse(path.read_text())).reads():
            found |= names
            if not names:
                unnamed.add(str(path.relative_to(folder)))
    return found, unnamed


@dataclass
class _Module:
    tree: ast.Module
    functions: list[Function] = field(init=False)
    answering: set[str] = field(init=False)

    def __post_init__(self) -> None:
        nodes = list(ast.walk(self.tree))
        self.functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        # Functions that answer the environment, if only sometimes.
        self.answering = {
            function.name
            for function in self.functions
            for node in ast.walk(function)
            if isinstance(node, ast.Return) and node.value is not None and _is_environ(node.value)
        }

    def reads(self) -> Iterator[set[str]]:
        """For each read the names it may be of; an empty set where none is to be found."""
        inside = {node for function in self.functions for node in ast.walk(function)}
        for node in ast.walk(self.tree):
            # By another name it would be missed.
            if isinstance(node, ast.ImportFrom) and node.module == "os":
                assert not {alias.name for alias in node.names} & {"environ", "environb", "getenv"}
            if node not in inside:
                for key in self._keys(node, set()):
                    yield self._names(key, None)
        for function in self.functions:
            environments = self._environments(function)
            for node in ast.walk(function):
                for key in self._keys(node, environments):
                    yield self._names(key, function)

    def _environments(self, function: Function) -> set[str]:
        """The function's own names for the environment: parameters whose default it is, and what is assigned from it."""
        arguments = function.args
        given = [*arguments.posonlyargs, *arguments.args]
        pairs = [
            *zip(given[len(given) - len(arguments.defaults) :], arguments.defaults, strict=True),
            *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
        ]
        names = {argument.arg for argument, default in pairs if default is not None and _is_environ(default)}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and self._is_environment(node.value, names):
                names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        return names

    def _is_environment(self, node: ast.expr, names: set[str]) -> bool:
        if isinstance(node, ast.IfExp):
            return self._is_environment(node.body, names) or self._is_environment(node.orelse, names)
        if isinstance(node, ast.Call):
            return self._is_environment(node.func, names) or getattr(node.func, "id", "") in self.answering
        return _is_environ(node) or (isinstance(node, ast.Name) and node.id in names)

    def _keys(self, node: ast.AST, names: set[str]) -> Iterator[ast.expr]:
        """What the environment is asked for, where this node asks."""
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            if self._is_environment(node.value, names):
                yield node.slice
        elif isinstance(node, ast.Compare):
            if isinstance(node.ops[0], ast.In | ast.NotIn) and self._is_environment(node.comparators[0], names):
                yield node.left
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            asks = node.func.attr in _READERS and self._is_environment(node.func.value, names)
            if (asks or node.func.attr == "getenv") and node.args:
                yield node.args[0]

    def _names(self, key: ast.expr, function: Function | None) -> set[str]:
        if isinstance(key, ast.Constant):
            return {str(key.value)}
        if isinstance(key, ast.JoinedStr):
            return {"".join(str(part.value) if isinstance(part, ast.Constant) else ANY for part in key.values)}
        if not isinstance(key, ast.Name):
            return set()
        nodes: list[ast.AST] = [*self.tree.body]
        if function is not None:
            # A comprehension's names are its own.
            nodes = _generators(function, key) or [*nodes, *_outside_comprehensions(function)]
        found = {text for node in nodes for text in self._bound(node, key.id, function)}
        return found | (self._passed(function, key.id) if function else set())

    def _bound(self, node: ast.AST, name: str, function: Function | None) -> set[str]:
        """The texts that a name is bound to here, by an assignment or as the target of a loop over a dictionary."""
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return self._names(node.value, function)
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension) and function is not None:
            first = node.target.elts[0] if isinstance(node.target, ast.Tuple) else node.target
            if isinstance(first, ast.Name) and first.id == name:
                return _keys_of(_names_in(node.iter), function)
        return set()

    def _passed(self, function: Function, name: str) -> set[str]:
        """What the module's calls of a function pass for its parameter."""
        parameters = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if name in parameters and isinstance(node, ast.Call) and getattr(node.func, "id", "") == function.name:
                values = [item.value for item in node.keywords if item.arg == name]
                values += node.args[parameters.index(name) :][:1]
                found |= {str(value.value) for value in values if isinstance(value, ast.Constant)}
        return found


def _is_environ(node: ast.expr) -> bool:
    """`os.environ`, and psutil's `process.environ` of another process."""
    return isinstance(node, ast.Attribute) and node.attr in {"environ", "environb"}


def _generators(function: Function, key: ast.Name) -> list[ast.AST]:
    """The `for` of the innermost comprehension around a name that binds it."""
    found: list[ast.AST] = []
    # The outer ones come first.
    for node in ast.walk(function):
        if isinstance(node, _COMPREHENSIONS) and any(item is key for item in ast.walk(node)):
            found = [item for item in node.generators if key.id in _names_in(item.target)] or found
    return found


def _outside_comprehensions(function: Function) -> list[ast.AST]:
    return [node for node in ast.walk(function) if not isinstance(node, ast.comprehension)]


def _names_in(node: ast.AST) -> set[str]:
    return {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}


def _keys_of(dictionaries: set[str], function: Function) -> set[str]:
    """The texts that are keys of a function's dictionaries: of their displays, and what is assigned to them by key."""
    keys: list[ast.expr | None] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id in dictionaries and isinstance(node.value, ast.Dict):
                    keys += node.value.keys
                if isinstance(target, ast.Subscript) and getattr(target.value, "id", "") in dictionaries:
                    keys.append(target.slice)
    return {str(key.value) for key in keys if isinstance(key, ast.Constant)}
