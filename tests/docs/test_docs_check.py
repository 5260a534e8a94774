"""docs/how-to/check-a-worker.md against the rules of a dry run: every one is there, and no other."""

from __future__ import annotations

import ast
import re

from tests.docs.pages import ROOT
from tests.support.planted.mistakes import DECLARED_MISTAKES, MISTAKES
from tests.support.source import modules

PAGE = ROOT / "docs" / "how-to" / "check-a-worker.md"


def _on_the_page() -> set[str]:
    rows = re.findall(r"^\| ((?:`[a-z-]+`(?:, )?)+) \|", PAGE.read_text(), re.MULTILINE)
    return {rule for row in rows for rule in re.findall(r"`([a-z-]+)`", row)}


def _nodes() -> list[ast.AST]:
    return [node for module in modules("src/pyworker/checking") for node in ast.walk(module.tree)]


def _given_at_once(node: ast.AST) -> str | None:
    """The rule in ``fault("rule", ...)``."""
    is_finding = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"fault", "warning"}
    first = node.args[0] if is_finding and isinstance(node, ast.Call) else None
    return str(first.value) if isinstance(first, ast.Constant) else None


def test_every_rule_of_the_code_is_on_the_page() -> None:
    given = {rule for rule in map(_given_at_once, _nodes()) if rule}
    planted = {mistake.rule for mistake in [*MISTAKES, *DECLARED_MISTAKES]}
    assert len(given) > 15
    assert (given | planted) - _on_the_page() == set()


def test_every_rule_of_the_page_is_in_the_code() -> None:
    texts = {node.value for node in _nodes() if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert _on_the_page() - texts == set()
