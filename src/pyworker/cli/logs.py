"""``pyworker endpoint logs`` and ``pyworker group logs``: what was decided, and why."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from pyworker.cli.following import follow
from pyworker.cli.output import say_json, show_lines

if TYPE_CHECKING:
    from pyworker.wire_management import EndpointLogs

__all__ = ["FollowOption", "Level", "LevelOption", "TailOption", "merged", "show_logs"]

STAMP_LENGTH = len("2026-11-24T14:22:32.123Z")


class Level(Enum):
    """How much of the log: what was done, what was decided, and the numbers behind it."""

    INFO0 = "info0"
    INFO1 = "info1"
    TRACE = "trace"
    DEBUG = "debug"


LevelOption = Annotated[Level, typer.Option("--level", help="How much: each adds to those before it.")]
TailOption = Annotated[int, typer.Option("--tail", "-n", min=1, max=2_000, metavar="N", help="The last N lines.")]
FollowOption = Annotated[bool, typer.Option("--follow", help="Go on showing new lines until Ctrl-C.")]


def merged(logs: EndpointLogs, level: Level, tail: int) -> list[str]:
    """The last lines of this level and of those before it, in the order of their times, which they begin with."""
    levels = list(Level)
    chosen = levels[: levels.index(level) + 1]
    texts: list[str] = [getattr(logs, each.value) for each in chosen]
    return list(heapq.merge(*(text.splitlines() for text in texts), key=lambda line: line[:STAMP_LENGTH]))[-tail:]


def show_logs(ask: Callable[[], EndpointLogs], level: Level, tail: int, *, following: bool, as_json: bool) -> None:
    """Once, or until Ctrl-C."""

    def lines() -> list[str]:
        return merged(ask(), level, tail)

    if as_json:
        say_json(ask())
    elif following:
        follow(lines)
    else:
        show_lines(lines() or ["nothing was decided yet"])
