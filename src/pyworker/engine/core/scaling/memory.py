"""What scaling remembers from one decision to the next, and the times it goes by. Pure.

Everything here is bounded: a group's record for each group that there is, and peaks in at most ``_SLOTS`` + 2 slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["GroupMemory", "Memory", "Peaks", "Tempo", "highest", "with_peak"]

_SLOTS: Final = 30  # a window's peaks are kept this finely

Peaks = tuple[tuple[float, float], ...]
"""(when, how much), oldest first, each higher than those after it: the first is the highest of the window."""


@dataclass(frozen=True, slots=True)
class Tempo:
    """Windows and limits, in s. Shorter ones make tests and demonstrations quick."""

    stable_s: float = 60.0  # arrivals are averaged over it; what was wanted within it is kept active
    burst_s: float = 6.0  # arrivals are averaged over it to notice a burst
    settled_s: float = 60.0  # a worker that is ready for less is not stopped
    cold_s: float = 600.0  # what was wanted within it is kept cold
    start_limit_s: float = 1800.0  # a worker that is not ready by then has failed
    retry_first_s: float = 5.0  # after one failure; twice as long after each further one
    retry_longest_s: float = 300.0
    given_up_s: float = 600.0  # until a group that was given up is tried again
    healthy_s: float = 60.0  # ready for so long: what failed before counts no more
    patience_s: float = 120.0  # an update waits so long for the load to need one worker less
    canary_s: float = 10.0  # the first worker of a new version is ready for so long: the others follow


@dataclass(frozen=True, slots=True)
class GroupMemory:
    """One workergroup. ``failed`` workers in a row were replaced since one was healthy, the last at ``failed_s``."""

    id: int
    version: int = 0  # the group's when this was noted; another one begins anew
    capacity_per_s: float = 0.0  # of one worker, as last measured; 0: never
    failed: int = 0
    failed_s: float = 0.0
    failure: str = ""  # the last one's reason
    proven_version: int = 0  # the newest version that became ready
    bad_version: int = 0  # the newest version that was rolled back, and why
    bad_reason: str = ""
    waits_s: float | None = None  # since when its update finds every worker needed and no room


@dataclass(frozen=True, slots=True)
class Memory:
    """Begin with ``Memory()``."""

    since_s: float | None = None  # the first decision of an unbroken row
    last_s: float = 0.0  # the last one
    active_peaks: Peaks = ()  # active capacity that was needed, over the stable window
    total_peaks: Peaks = ()  # active and cold capacity that was needed, over the cold window
    burst_s: float | None = None  # when a burst was last seen, while it counts
    burst_load_per_s: float = 0.0  # its highest rate
    turn: int = 0  # whose turn it is among groups that are as good as each other
    groups: tuple[GroupMemory, ...] = ()


def with_peak(peaks: Peaks, amount: float, now_s: float, window_s: float) -> Peaks:
    """The peaks of the window that ends now, this amount among them. One that follows a higher at once is left out."""
    kept = tuple(peak for peak in peaks if now_s - peak[0] <= window_s and peak[1] > amount)
    if kept and now_s - kept[-1][0] < window_s / _SLOTS:
        return kept
    return (*kept, (now_s, amount))


def highest(peaks: Peaks) -> float:
    """The highest amount of the window."""
    return peaks[0][1] if peaks else 0.0
