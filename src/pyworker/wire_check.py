"""The messages of a dry run (``pyworker check``): from the process that loads the worker to the one that prints.

Pure, as ``wire.py`` is. A line of the child is one ``CheckLine``; ``--json`` prints a ``CheckReport``.
"""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["CheckLine", "CheckReport", "Finding", "Level", "parse_line"]

Level = Literal["fault", "warning"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong: which rule says so, where (``server.py:12``, a class, a route), and what to do."""

    rule: str
    level: Level
    where: str
    what: str
    remedy: str


class CheckLine(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One step of a dry run: what begins, what was found, what is left out, or the end. One field is given."""

    begins: str | None = None
    finding: Finding | None = None
    not_checked: str | None = None
    not_understood: str | None = None
    ended: bool = False


class CheckReport(msgspec.Struct, kw_only=True):
    """A whole dry run. ``checked`` are its steps, in order; ``not_checked`` is left to be found in production."""

    target: str
    faults: int
    warnings: int
    findings: list[Finding]
    checked: list[str]
    not_checked: list[str]


_LINE = msgspec.json.Decoder(CheckLine)


def parse_line(line: bytes) -> CheckLine | None:
    """A line of the child; None for one that was cut off."""
    try:
        return _LINE.decode(line)
    except msgspec.DecodeError:
        return None
