"""What a dry run says while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pyworker.checking.findings import one_line
from pyworker.wire_check import CheckLine, Finding

__all__ = ["Telling"]


@dataclass(frozen=True)
class Telling:
    """Line by line, to whoever listens."""

    tell: Callable[[CheckLine], None]

    def begin(self, step: str) -> None:
        """A step begins."""
        self.tell(CheckLine(begins=step))

    def found(self, *findings: Finding) -> None:
        """These are wrong."""
        self.found_all(findings)

    def found_all(self, findings: Iterable[Finding]) -> None:
        """Each of these is wrong."""
        for finding in findings:
            self.tell(CheckLine(finding=finding))

    def left_out(self, what: str) -> None:
        """This was not looked at."""
        self.tell(CheckLine(not_checked=one_line(what)))
