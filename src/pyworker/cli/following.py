"""A log that is followed: what is new in the last lines since they were last asked for."""

# ruff: noqa: PLC0415
from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import typer

from pyworker.cli.common import INTERRUPTED
from pyworker.cli.output import show_lines

__all__ = ["follow", "new_lines"]

ASK_AGAIN_S: Final = 1.0


def new_lines(before: Sequence[str], now: Sequence[str]) -> list[str]:
    """Those after the longest end of ``before`` that ``now`` begins with; all of them when there is none."""
    for length in range(min(len(before), len(now)), 0, -1):
        if list(before[-length:]) == list(now[:length]):
            return list(now[length:])
    return list(now)


def follow(ask: Callable[[], list[str]]) -> None:
    """Show a log's last lines, and then each new one until Ctrl-C. An engine that goes away is waited for."""
    from pyworker.errors import EngineUnreachable

    seen = ask()
    show_lines(seen)
    is_gone = False
    try:
        while True:
            time.sleep(ASK_AGAIN_S)
            try:
                now = ask()
            except EngineUnreachable as error:
                if not is_gone:
                    typer.echo(f"{error}\nwaiting for it", err=True)
                is_gone = True
                continue
            is_gone = False
            show_lines(new_lines(seen, now))
            seen = now or seen
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
