"""What was measured, as data, and what follows from it: medians, ratios, targets. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any, cast

import msgspec

__all__ = ["Memory", "Results", "Row", "Verdict", "one_added_ms", "ratio", "verdicts"]


class Row(msgspec.Struct, kw_only=True):
    """One proxy. A list holds one figure for each round; None or an empty list was not measured."""

    name: str
    title: str
    absent: str | None = None  # why there are no figures
    answers_per_s: list[float] = []
    answers_per_cpu_s: list[float] = []
    many_p50_ms: list[float] = []
    many_p99_ms: list[float] = []
    one_p50_ms: list[float] = []
    first_chunk_p50_ms: float | None = None
    chunks_kept_up: float | None = None  # chunks that came through, to those that the streams should have brought
    chunk_cpu_us: float | None = None
    big_cpu_ms: float | None = None
    rss_start_mb: float | None = None
    rss_end_mb: float | None = None
    failures: dict[str, int] = {}

    def figure(self, field: str) -> float | None:
        """A figure, the median of it where there were rounds; None when there is none."""
        value: Any = getattr(self, field)
        if isinstance(value, list):
            rounds = cast("list[float]", value)
            return statistics.median(rounds) if rounds else None
        return value


class Memory(msgspec.Struct, kw_only=True):
    """Resident memory of one pass-through worker over its life, in MB."""

    idle_mb: float
    warm_mb: float  # after the first tenth of the requests
    requests: int
    served_mb: float  # after all of them
    dropped_clients: int
    dropped_mb: float  # after these went away besides
    failures: dict[str, int]

    @property
    def growth_mb(self) -> float:
        """How much it grew once it was warm."""
        return max(self.served_mb, self.dropped_mb) - self.warm_mb


class Results(msgspec.Struct, kw_only=True):
    """A whole run."""

    began: str
    kind: str
    took_s: float
    machine: dict[str, str]
    versions: dict[str, str]
    rows: dict[str, Row]
    memory: Memory | None


class Verdict(msgspec.Struct):
    """A figure, its limit, what was measured, and whether that meets it; None when it was not measured."""

    what: str
    limit: str
    measured: str
    met: bool | None


def one_added_ms(rows: Mapping[str, Row], name: str) -> float | None:
    """What a proxy adds to the median answer on one connection, over no proxy at all."""
    through, direct = _figure(rows, name, "one_p50_ms"), _figure(rows, "direct", "one_p50_ms")
    return None if through is None or direct is None else through - direct


def ratio(rows: Mapping[str, Row], name: str, base: str, field: str) -> float | None:
    """A figure of one proxy to the same of another; the field "added" is one_added_ms()."""
    value, unit = _figure(rows, name, field), _figure(rows, base, field)
    return None if value is None or not unit else value / unit


def _figure(rows: Mapping[str, Row], name: str, field: str) -> float | None:
    if field == "added":
        return None if name == "direct" else one_added_ms(rows, name)
    return rows[name].figure(field) if name in rows else None


def verdicts(rows: Mapping[str, Row], memory: Memory | None) -> list[Verdict]:
    """The targets of the project, each held against this run."""
    speed, chunk = "answers_per_cpu_s", "chunk_cpu_us"
    idle_mb, growth_mb = (memory.idle_mb, memory.growth_mb) if memory else (None, None)
    return [
        _at_least("pass-through, req/CPU-s to SDK", ratio(rows, "pass", "sdk", speed), 12, "x"),
        _at_least("guide's handlers, req/CPU-s to SDK", ratio(rows, "guide", "sdk", speed), 5, "x"),
        _at_least("declared handlers, req/CPU-s to guide's", ratio(rows, "declared", "guide", speed), 1, "x"),
        _at_least("with response_generator, req/CPU-s to guide's", ratio(rows, "generator", "guide", speed), 0.95, "x"),
        _at_most("pass-through, added p50 to SDK", ratio(rows, "pass", "sdk", "added"), 1 / 3, "x"),
        _at_most("pass-through, CPU a chunk to SDK", ratio(rows, "pass", "sdk", chunk), 0.7, "x"),
        _at_most("pass-through, first chunk at p50", _figure(rows, "pass", "first_chunk_p50_ms"), 5, "ms"),
        _at_most("pass-through, memory idle", idle_mb, 60, "MB"),
        _at_most("pass-through, memory growth once warm", growth_mb, 5, "MB"),
    ]


def _at_least(what: str, value: float | None, limit: float, unit: str) -> Verdict:
    return Verdict(what, f">= {limit:.3g} {unit}", _shown(value, unit), None if value is None else value >= limit)


def _at_most(what: str, value: float | None, limit: float, unit: str) -> Verdict:
    return Verdict(what, f"<= {limit:.3g} {unit}", _shown(value, unit), None if value is None else value <= limit)


def _shown(value: float | None, unit: str) -> str:
    return "not measured" if value is None else f"{value:.2f} {unit}"
