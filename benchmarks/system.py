"""What the machine says: CPU time and memory of processes, and what machine it is."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["cores", "cpu_s", "group_pids", "machine", "pin", "resident_mb", "versions"]

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PACKAGES = ("pyworker", "aiohttp", "uvloop", "httptools", "msgspec", "cryptography")


def cores() -> tuple[int, int]:
    """Two cores, one for model server and load and one for the proxy; the same one when there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def pin(core: int) -> None:
    """Keep this process, and what it starts unless that is pinned itself, on one core."""
    os.sched_setaffinity(0, {core})


def group_pids(group: int) -> list[int]:
    """The processes of a process group."""
    pids = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if (fields := _stat(pid)) and int(fields[2]) == group]


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds, user and system, that these processes have used since they began."""
    ticks = sum(int(fields[11]) + int(fields[12]) for pid in pids if (fields := _stat(pid)))
    return ticks / _TICKS_PER_S


def resident_mb(pids: Iterable[int]) -> float:
    """Resident memory of these processes in MB (10^6 bytes)."""
    pages = sum(int(fields[21]) for pid in pids if (fields := _stat(pid)))
    return pages * _PAGE_BYTES / 1e6


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third (state) on; empty when the process is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def machine() -> dict[str, str]:
    """CPU, cores, memory, kernel, and how busy the machine was before anything was measured."""
    model = re.search(r"^model name\s*:\s*(.+)$", (_PROC / "cpuinfo").read_text(), re.MULTILINE)
    memory_kb = re.search(r"^MemTotal:\s*(\d+)", (_PROC / "meminfo").read_text(), re.MULTILINE)
    return {
        "cpu": model.group(1) if model else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(memory_kb.group(1)) / 1e6:.0f} GB" if memory_kb else "unknown",
        "kernel": f"{platform.system()} {platform.release()}",
        "load average at the start": f"{os.getloadavg()[0]:.2f}",
    }


def versions() -> dict[str, str]:
    """Python and the packages that our worker stands on."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in _PACKAGES}
