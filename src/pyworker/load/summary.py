"""What became of the requests of a load test. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pyworker.load.outcome import Objective, Outcome

__all__ = ["PERCENTS", "Summary", "Times", "percentile"]

PERCENTS: Final[Mapping[str, float]] = {"p50": 50, "p90": 90, "p99": 99, "p99.9": 99.9, "max": 100}


class Summary:
    """Every request that was sent, as it stands. ``objective`` says which of the answered ones are good."""

    def __init__(self, objective: Objective | None = None) -> None:
        self.objective = objective or Objective()
        self.outcomes: list[Outcome] = []
        self.ok = 0  # answered whole, with 2xx
        self.errors: Counter[str] = Counter()
        self.obstacle = ""  # what a request met last

    @property
    def sent(self) -> int:
        """Requests, whatever became of them."""
        return len(self.outcomes)

    @property
    def unfinished(self) -> int:
        """Sent, and neither answered nor failed."""
        return self.sent - self.ok - self.errors.total()

    @property
    def all_ok(self) -> bool:
        """Whether every request was answered well, and there were any."""
        return self.ok == self.sent > 0

    @property
    def good_share(self) -> float:
        """The part of the requests that met the objective, from 0 to 1."""
        return sum(map(self.objective.is_met_by, self.outcomes)) / self.sent if self.sent else 0.0

    def begin(self, outcome: Outcome) -> None:
        """A request is sent."""
        self.outcomes.append(outcome)

    def end(self, outcome: Outcome) -> None:
        """It was answered, or failed."""
        if outcome.error:
            self.errors[outcome.error] += 1
        else:
            self.ok += 1
            self.obstacle = ""

    def met(self, obstacle: str) -> None:
        """A request has to wait."""
        self.obstacle = obstacle

    def line(self, elapsed_s: float) -> str:
        """How it stands, in one line."""
        counts = f"{self.sent} sent, {self.ok} ok, {self.errors.total()} errors, {self.unfinished} in flight"
        waits = f"; the last obstacle: {self.obstacle}" if self.unfinished and self.obstacle else ""
        return f"{elapsed_s:.0f} s: {counts}{waits}"

    # --- in the end ---

    def times(self) -> Mapping[str, Times]:
        """Of the requests that were answered well; only those that there are."""
        asked: dict[str, Callable[[Outcome], float]] = {
            "latency": lambda one: one.latency_s,
            "first token": lambda one: one.first_token_s,
            "between tokens": lambda one: one.between_tokens_s,
        }
        answered = [one for one in self.outcomes if one.is_ok]
        found = {name: Times.of(map(value, answered)) for name, value in asked.items()}
        return {name: times for name, times in found.items() if times.count}

    def lateness(self) -> Times:
        """How late requests were sent: the generator's own fault, and in the latencies."""
        return Times.of(one.sent_s - one.due_s for one in self.outcomes)

    def workers(self) -> dict[str, Summary]:
        """By the worker that answered, the busiest first."""
        found: dict[str, Summary] = {}
        for outcome in self.outcomes:
            if outcome.worker:
                of_worker = found.setdefault(outcome.worker, Summary(self.objective))
                of_worker.begin(outcome)
                of_worker.end(outcome)
        return dict(sorted(found.items(), key=lambda item: -item[1].sent))

    def text(self, elapsed_s: float) -> str:
        """The whole of it."""
        per_s = 1 / elapsed_s if elapsed_s > 0 else 0.0
        lines = [
            f"sent        {self.sent} in {elapsed_s:.1f} s ({self.sent * per_s:.2f}/s)",
            f"ok          {self.ok}",
            f"errors      {self.errors.total()}",
            *(f"  {count:>8}  {kind}" for kind, count in self.errors.most_common()),
        ]
        if self.unfinished:
            lines.append(f"unfinished  {self.unfinished}")
        tokens = sum(one.tokens for one in self.outcomes)
        if tokens > self.ok:
            lines.append(f"tokens      {tokens} ({tokens * per_s:.1f}/s)")
        if self.ok and str(self.objective):
            good = self.good_share * self.sent
            lines.append(f"good        {self.good_share:.1%}, {good * per_s:.2f}/s ({self.objective})")
        if self.ok:
            lines += ["", _row("", [*PERCENTS], "  from when a request was due")]
            lines += [
                _row(name, [_shown(times.at(at)) for at in PERCENTS.values()]) for name, times in self.times().items()
            ]
            late = self.lateness()
            lines.append(_row("sent late", [_shown(late.at(at)) for at in PERCENTS.values()]))
        workers = self.workers()
        if len(workers) > 1:
            lines += ["", _row("worker", ["ok", "errors", "p50", "p99", "max"])]
            lines += [_row(url, _of_worker(one)) for url, one in workers.items()]
        return "\n".join(lines)

    def data(self, elapsed_s: float) -> dict[str, Any]:
        """The same as JSON has it: times in s."""
        tokens = sum(one.tokens for one in self.outcomes)
        return {
            "elapsed_s": elapsed_s,
            "sent": self.sent,
            "ok": self.ok,
            "errors": dict(self.errors),
            "unfinished": self.unfinished,
            "sent_per_s": self.sent / elapsed_s if elapsed_s else 0.0,
            "tokens_per_s": tokens / elapsed_s if elapsed_s else 0.0,
            "objective": str(self.objective),
            "good_share": self.good_share,
            "goodput_per_s": self.good_share * self.sent / elapsed_s if elapsed_s else 0.0,
            "times_s": {name.replace(" ", "_"): times.data() for name, times in self.times().items()},
            "sent_late_s": self.lateness().data(),
            "workers": {
                url: {"ok": one.ok, "errors": one.errors.total(), "latency_s": Times.of(_latencies(one)).data()}
                for url, one in self.workers().items()
            },
        }


@dataclass(frozen=True, slots=True)
class Times:
    """Durations (s), in order."""

    ordered_s: Sequence[float] = field(default_factory=list[float])

    @classmethod
    def of(cls, values_s: Iterable[float]) -> Times:
        """In any order; NaN is none."""
        return cls(sorted(value for value in values_s if not math.isnan(value)))

    @property
    def count(self) -> int:
        """How many."""
        return len(self.ordered_s)

    def at(self, percent: float) -> float:
        """A percentile; NaN when there is none."""
        return percentile(self.ordered_s, percent) if self.ordered_s else math.nan

    def data(self) -> dict[str, float]:
        """Mean and percentiles, as JSON has them."""
        if not self.ordered_s:
            return {}
        named = {name: percentile(self.ordered_s, percent) for name, percent in PERCENTS.items()}
        return {"count": float(self.count), "mean": math.fsum(self.ordered_s) / self.count, **named}


def percentile(sorted_values: Sequence[float], percent: float) -> float:
    """The least value that ``percent`` of the values do not exceed; there must be one at least."""
    rank = math.ceil(percent / 100 * len(sorted_values))
    return sorted_values[max(0, rank - 1)]


def _latencies(summary: Summary) -> Iterable[float]:
    return (one.latency_s for one in summary.outcomes if one.is_ok)


def _of_worker(summary: Summary) -> list[str]:
    times = Times.of(_latencies(summary))
    return [str(summary.ok), str(summary.errors.total()), *(_shown(times.at(at)) for at in (50, 99, 100))]


def _shown(value_s: float) -> str:
    return "" if math.isnan(value_s) else f"{value_s:.3f} s" if value_s < 100 else f"{value_s:.0f} s"


def _row(name: str, cells: Sequence[str], after: str = "") -> str:
    return f"{name:<15}" + "".join(f"{cell:>11}" for cell in cells) + after
