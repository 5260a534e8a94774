"""The source as data: files, functions, imports; for the tests that hold it to its style."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("src/pyworker", "lib", "utils", "workers")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str  # as it is imported
    path: Path

    @property
    def place(self) -> str:
        """Its path as it is shown."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @functools.cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def functions(self) -> Iterator[Function]:
        """Every function, nested ones too."""
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def imports(self, *, at_runtime: bool = False) -> set[str]:
        """The modules it names in imports, as far as that can be seen without importing: ``from a import b`` is
        both ``a`` and ``a.b``. With ``at_runtime`` only what its own import brings about."""
        nodes = _runtime_nodes(self.tree) if at_runtime else ast.walk(self.tree)
        return {name for node in nodes for name in _imported(node)}

    def handlers(self) -> Iterator[tuple[str, ast.ExceptHandler]]:
        """Every ``except`` with the qualified name of what it stands in."""
        return _handlers(self.tree, ())


@functools.cache
def modules(*folders: str) -> tuple[Module, ...]:
    """The modules under these folders, or under all of them."""
    return tuple(_modules(folders or SOURCES))


def _modules(folders: tuple[str, ...]) -> Iterator[Module]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = list(path.relative_to(ROOT).with_suffix("").parts)
            if any(part.startswith(".") for part in parts):
                continue
            parts = parts[1:] if parts[0] == "src" else parts
            yield Module(".".join(parts[:-1] if parts[-1] == "__init__" else parts), path)


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported: no bodies of functions, nothing under ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.Lambda) or _is_type_checking(child):
            continue
        yield child
        yield from _runtime_nodes(child)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _handlers(node: ast.AST, within: tuple[str, ...]) -> Iterator[tuple[str, ast.ExceptHandler]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ExceptHandler):
            yield ".".join(within), child
        named = isinstance(child, Function | ast.ClassDef)
        yield from _handlers(child, (*within, child.name) if named else within)
