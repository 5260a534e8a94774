"""How a finding is made, and what must not stand in one. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from pyworker.wire_check import Finding

__all__ = ["come_of", "fault", "one_line", "raised", "redacted", "warning"]

LONGEST: Final = 300
SHORTEST_SECRET: Final = 6
_SECRET_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH", re.IGNORECASE)


def fault(rule: str, where: str, what: str, remedy: str) -> Finding:
    """What will fail."""
    return Finding(rule=rule, level="fault", where=where, what=what, remedy=remedy)


def warning(rule: str, where: str, what: str, remedy: str) -> Finding:
    """What may be meant so."""
    return Finding(rule=rule, level="warning", where=where, what=what, remedy=remedy)


def raised(error: BaseException) -> str:
    """An exception in a line."""
    return one_line(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def come_of(error: BaseException) -> str:
    """What it does to a worker when the author's code raises this for a request."""
    return "the worker ends" if isinstance(error, SystemExit) else "the client gets a 500 and tries again"


def one_line(text: Any) -> str:
    """Without line breaks, and not for ever."""
    words = " ".join(str(text).split())
    return words if len(words) <= LONGEST else f"{words[:LONGEST]}..."


def redacted(finding: Finding, env: Mapping[str, str]) -> Finding:
    """Without the values of variables that are called like secrets."""
    secrets = {
        value: f"(the value of {name})"
        for name, value in env.items()
        if _SECRET_NAMES.search(name) and len(value) >= SHORTEST_SECRET
    }

    def clean(text: str) -> str:
        for value, instead in secrets.items():
            text = text.replace(value, instead)
        return text

    return msgspec.structs.replace(
        finding, where=clean(finding.where), what=clean(finding.what), remedy=clean(finding.remedy)
    )
