"""Telling people which name they meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pyworker.errors import ConfigurationError

__all__ = ["nearest", "refuse_unknown"]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, if any."""
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return near[0] if near else None


def refuse_unknown(what: str, unknown: Iterable[str], known: Iterable[str]) -> None:
    """Raises ConfigurationError naming every unknown keyword and the nearest known one."""
    names = sorted(known)
    problems: list[str] = []
    for name in unknown:
        near = nearest(name, names)
        hint = f"did you mean {near!r}?" if near else f"it takes {', '.join(names)}"
        problems.append(f"{what} has no keyword {name!r}: {hint}")
    if problems:
        raise ConfigurationError("; ".join(problems))
