"""``pyworker endpoint logs`` and ``pyworker group logs``: what was decided, and why."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from pyworker.cli.following import follow
from pyworker.cli.output import say_json, show_lines

if TYPE_CHECKING:
    from pyworker.wire_management import EndpointLogs

__all__ = ["FollowOption", "Level", "LevelOption", "TailOption", "show_logs"]


class Level(Enum):
    """How much of the log; each has the lines of those before it."""

    INFO0 = "info0"
    INFO1 = "info1"
    TRACE = "trace"
    DEBUG = "debug"


LevelOption = Annotated[Level, typer.Option("--level", help="How much; each has what those before it have.")]
TailOption = Annotated[int, typer.Option("--tail", "-n", min=1, max=2_000, metavar="N", help="The last N lines.")]
FollowOption = Annotated[bool, typer.Option("--follow", help="Go on showing new lines until Ctrl-C.")]


def show_logs(ask: Callable[[], EndpointLogs], level: Level, *, following: bool, as_json: bool) -> None:
    """Once, or until Ctrl-C."""

    def lines() -> list[str]:
        text: str = getattr(ask(), level.value)
        return text.splitlines()

    if as_json:
        say_json(ask())
    elif following:
        follow(lines)
    else:
        show_lines(lines() or ["nothing was decided yet"])
