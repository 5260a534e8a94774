"""Telling people which name they meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pyworker.errors import ConfigurationError

__all__ = ["refuse_unknown"]


def refuse_unknown(what: str, unknown: Iterable[str], known: Iterable[str]) -> None:
    """Raises ConfigurationError naming every unknown keyword and the nearest known one."""
    names = sorted(known)
    problems: list[str] = []
    for name in unknown:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(names)}"
        problems.append(f"{what} has no keyword {name!r}: {hint}")
    if problems:
        raise ConfigurationError("; ".join(problems))
