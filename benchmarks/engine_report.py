"""Figures of the engine, and of the client, as a table, on the terminal and in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table

__all__ = ["Line", "table", "write"]


@dataclass(frozen=True)
class Line:
    """One figure, with the target that it has to meet, if there is one."""

    what: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None

    def cells(self) -> list[str]:
        """What it is, target, figure, verdict."""
        target, met = "", ""
        if self.at_least is not None:
            target, met = f">= {self.at_least:,g}", "met" if self.value >= self.at_least else "NOT MET"
        if self.at_most is not None:
            target, met = f"<= {self.at_most:,g}", "met" if self.value <= self.at_most else "NOT MET"
        return [self.what, target, f"{self.value:,.4g} {self.unit}", met]


_HEAD = ("", "target", "measured", "")


def table(lines: Sequence[Line]) -> Table:
    """For a terminal."""
    shown = Table(box=box.SIMPLE, pad_edge=False)
    for index, name in enumerate(_HEAD):
        shown.add_column(name, justify="right" if index else "left")
    for line in lines:
        shown.add_row(*line.cells())
    return shown


def write(lines: Sequence[Line], folder: Path, began: str, facts: Mapping[str, str], what: str = "engine") -> Path:
    """``<date>-engine.md``, or of something else; returns its path."""
    rows = [_HEAD, ("---", "---:", "---:", "---:"), *(line.cells() for line in lines)]
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in rows)
    notes = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    path = folder / f"{began}-{what}.md"
    path.write_text(f"# {began}, the {what}\n\nHow it is measured: [README](../README.md).\n\n{text}\n\n{notes}\n")
    return path
