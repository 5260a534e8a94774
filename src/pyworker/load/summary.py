"""What became of the requests of a load test. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

__all__ = ["Summary", "percentile"]


class Summary:
    """Counts, and latencies (s) of the requests that were answered well."""

    def __init__(self) -> None:
        self.sent = 0
        self.errors: Counter[str] = Counter()
        self.latencies_s: list[float] = []
        self.obstacle = ""  # what a request met last

    @property
    def ok(self) -> int:
        """Answered with 2xx."""
        return len(self.latencies_s)

    @property
    def unfinished(self) -> int:
        """Sent, and neither answered nor failed."""
        return self.sent - self.ok - self.errors.total()

    @property
    def all_ok(self) -> bool:
        """Whether every request was answered well, and there were any."""
        return self.ok == self.sent > 0

    def line(self, elapsed_s: float) -> str:
        """How it stands, in one line."""
        counts = f"{self.sent} sent, {self.ok} ok, {self.errors.total()} errors, {self.unfinished} in flight"
        waits = f"; the last obstacle: {self.obstacle}" if self.unfinished and self.obstacle else ""
        return f"{elapsed_s:.0f} s: {counts}{waits}"

    def met(self, obstacle: str) -> None:
        """A request has to wait."""
        self.obstacle = obstacle

    def answered(self, latency_s: float) -> None:
        """One was answered well."""
        self.latencies_s.append(latency_s)
        self.obstacle = ""

    def text(self, elapsed_s: float) -> str:
        """The whole of it."""
        rate_per_s = self.sent / elapsed_s if elapsed_s > 0 else 0.0
        lines = [
            f"sent        {self.sent} in {elapsed_s:.1f} s ({rate_per_s:.2f}/s)",
            f"ok          {self.ok}",
            f"errors      {self.errors.total()}",
            *(f"  {count:>8}  {kind}" for kind, count in self.errors.most_common()),
        ]
        if self.unfinished:
            lines.append(f"unfinished  {self.unfinished}")
        if self.latencies_s:
            lines.append(
                f"latency     {_percentiles(self.latencies_s)}  (from when a request was due to its last byte)"
            )
        return "\n".join(lines)


def percentile(sorted_values: Sequence[float], percent: float) -> float:
    """The least value that ``percent`` of the values do not exceed; there must be one at least."""
    rank = math.ceil(percent / 100 * len(sorted_values))
    return sorted_values[max(0, rank - 1)]


def _percentiles(values_s: Sequence[float]) -> str:
    ordered = sorted(values_s)
    named = {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    return "  ".join(f"{name} {percentile(ordered, percent):.3f} s" for name, percent in named.items())
