"""The project's pages, read: their code blocks, links and headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(
    r"^(?:<!-- test: (?P<check>[^>]*?) -->\n+)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (?P<words>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced code block; ``check`` is what the comment before it says of how it is tested."""

    page: Path
    line: int
    language: str
    check: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every page that is ours to keep true."""
    top = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [*top, *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "workers").rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The page's fenced blocks in order."""
    text = page.read_text()
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("language")) + 1
        yield Block(page, line, match["language"], match["check"] or "", match["text"])


def links(page: Path) -> list[str]:
    """Targets of the page's links, those in code left out."""
    return [match["target"] for match in _LINK.finditer(_prose(page))]


def anchors(page: Path) -> set[str]:
    """What ``#...`` may name on this page."""
    return {_anchor(match["words"]) for match in _HEADING.finditer(_prose(page))}


def _prose(page: Path) -> str:
    without_blocks = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]+`(?!\])", lambda match: match[0].replace("[", "").replace("]", ""), without_blocks)


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
