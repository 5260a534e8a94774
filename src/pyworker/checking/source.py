"""What can be seen in an author's files without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from pyworker.checking.author import shown
from pyworker.checking.findings import fault
from pyworker.wire_check import Finding

__all__ = ["Source", "check_close_routes", "read_source"]

Source = dict[Path, ast.Module]


def read_source(files: Iterable[Path]) -> tuple[Source, list[Finding]]:
    """Every file that is Python, and a fault for each that is not."""
    trees: Source = {}
    findings: list[Finding] = []
    for path in files:
        try:
            trees[path] = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None) or 1
            reason = getattr(error, "msg", None) or str(error)
            findings.append(fault("syntax", shown(str(path), line), f"it is no Python: {reason}", "correct this line"))
    return trees, findings


def check_close_routes(source: Source, allowed: frozenset[str]) -> Iterator[Finding]:
    """A session that names a close route which is not allowed is refused."""
    for path, tree in source.items():
        for line, route in _close_routes(tree):
            if (urlsplit(route).path or "/") not in allowed:
                yield fault(
                    "close-route",
                    shown(str(path), line),
                    f"on_close_route {route!r} is no route of the model that this worker may call",
                    f"give it to the Backend: close_routes=[{route!r}]",
                )


def _close_routes(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        for name, value in _named_values(node):
            route = _text(value)
            if name == "on_close_route" and route:
                yield value.lineno, route


def _named_values(node: ast.AST) -> list[tuple[str | None, ast.expr]]:
    """Of a dict's text, or of a call."""
    if isinstance(node, ast.Dict):
        return [(_text(key), value) for key, value in zip(node.keys, node.values, strict=True)]
    return [(keyword.arg, keyword.value) for keyword in node.keywords] if isinstance(node, ast.Call) else []


def _text(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
