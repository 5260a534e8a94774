"""ARCHITECTURE.md names what is there, and nothing that is not."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.pages import ROOT, blocks

PAGE = ROOT / "ARCHITECTURE.md"
PACKAGE = ROOT / "src" / "pyworker"


def _map() -> dict[str, Path]:
    """Every file and folder of the map, by its path there."""
    text = next(block.text for block in blocks(PAGE) if block.text.startswith("src/pyworker/"))
    found: dict[str, Path] = {}
    folders: list[Path] = []
    for line in text.splitlines():
        depth = (len(line) - len(line.lstrip())) // 4
        for name in re.findall(r"^\s*((?:[\w/]+(?:\.py|\.sh|/) ?)+)", line)[0].split():
            path = (folders[depth - 1] if depth else ROOT) / name
            found[str(path.relative_to(ROOT))] = path
            if name.endswith("/"):
                folders[depth:] = [path]
    return found


def test_everything_on_the_map_is_there() -> None:
    assert [name for name, path in _map().items() if not path.exists()] == []


def test_every_module_of_the_package_is_on_the_map() -> None:
    modules = {str(path.relative_to(ROOT)) for path in PACKAGE.rglob("*.py") if path.stat().st_size > 0}
    packages = {name for name in modules if name.endswith("/__init__.py")}
    assert sorted(modules - packages - _map().keys()) == []


def test_every_file_that_the_text_names_is_there() -> None:
    named = re.findall(r"`((?:\w+/)*\w+\.py)", re.sub(r"```.*?```", "", PAGE.read_text(), flags=re.DOTALL))
    bases = (PACKAGE, PACKAGE / "worker", ROOT)
    assert [name for name in named if not any((base / name).exists() for base in bases)] == []
