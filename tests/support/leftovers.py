"""What a test has left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path

SETTLE_S = 2.0


async def require_no_tasks(before: set[asyncio.Task[object]]) -> None:
    """Fails when tasks still run that were not there ``before``; those about to end may."""
    mine = asyncio.current_task()
    left = asyncio.all_tasks() - before - {mine}
    if left:
        _, left = await asyncio.wait(left, timeout=SETTLE_S)
    assert not left, f"tasks left behind: {left}"


def require_no_processes(marked_by: Path) -> None:
    """Fails when there are child processes, or any process whose environment names ``marked_by``.

    The second finds what has gone into the background. Where there is no /proc nothing is looked for.
    """
    mark, until_s = str(marked_by).encode(), time.monotonic() + SETTLE_S
    while (left := _children() | _named(mark)) and time.monotonic() < until_s:
        time.sleep(0.01)  # one that was killed takes a moment to be gone
    assert not left, f"processes left behind: {[_command(pid) for pid in left]}"


def _children() -> set[int]:
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found |= {int(pid) for pid in path.read_text().split()}
    return found


def _named(mark: bytes) -> set[int]:
    found: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        pid = int(path.parent.name)
        with contextlib.suppress(OSError):
            if pid != os.getpid() and mark in path.read_bytes():
                found.add(pid)
    return found


def _command(pid: int) -> str:
    try:
        return f"{pid}: " + Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return f"{pid}"
