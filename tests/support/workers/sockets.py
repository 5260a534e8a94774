"""What the kernel says about this machine's TCP connections. Linux only."""

from __future__ import annotations

from pathlib import Path

__all__ = ["keep_alive_timers"]

_ESTABLISHED = "01"
_KEEP_ALIVE = "02"
_TICKS_PER_S = 100.0  # USER_HZ, whatever the kernel's own


def keep_alive_timers(*, local_port: int | None = None, remote_port: int | None = None) -> list[float]:
    """In how many s the keep-alive probes of the open connections with these ports are due."""
    due_s: list[float] = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, _, timer, *_ = line.split()
        kind, ticks = timer.split(":")
        if state == _ESTABLISHED and kind == _KEEP_ALIVE and _has(local, local_port) and _has(remote, remote_port):
            due_s.append(int(ticks, 16) / _TICKS_PER_S)
    return due_s


def _has(address: str, port: int | None) -> bool:
    return port is None or int(address.partition(":")[2], 16) == port
