"""When requests come and how much each asks for: evenly, by chance, in bursts, or as a trace tells."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import NamedTuple

from pyworker.errors import BadRequest

__all__ = ["Arrival", "Stretch", "by_chance", "evenly", "from_trace"]

_TRACE_COLUMNS = 3


class Arrival(NamedTuple):
    """One request."""

    at_s: float
    cost: float


class Stretch(NamedTuple):
    """For so long, requests come at this rate."""

    time_s: float
    requests_per_s: float


def evenly(stretches: Sequence[Stretch], cost: float, *, begin_s: float = 0.0) -> Iterator[Arrival]:
    """At equal distances."""
    for stretch in stretches:
        count = int(stretch.time_s * stretch.requests_per_s)
        for number in range(count):
            yield Arrival(begin_s + number / stretch.requests_per_s, cost)
        begin_s += stretch.time_s


def by_chance(
    random: Random, stretches: Sequence[Stretch], cost: float, *, spread: float = 0.0, begin_s: float = 0.0
) -> Iterator[Arrival]:
    """As a Poisson process; costs lie within ``spread`` (0 to 1) of their mean."""
    for stretch in stretches:
        end_s, at_s = begin_s + stretch.time_s, begin_s
        while stretch.requests_per_s > 0:
            at_s += random.expovariate(stretch.requests_per_s)
            if at_s >= end_s:
                break
            yield Arrival(at_s, cost * random.uniform(1.0 - spread, 1.0 + spread))
        begin_s = end_s


def from_trace(rows: Iterable[str], *, speed: float = 1.0) -> Iterator[Arrival]:
    """Rows ``time,input tokens,output tokens`` with a line of names above them; the cost is all tokens.

    Raises BadRequest for a row that is none, with its number.
    """
    first: datetime.datetime | None = None
    for number, row in enumerate(rows, 1):
        if number == 1 or not row.strip():
            continue
        cells = row.strip().split(",")
        try:
            moment = datetime.datetime.fromisoformat(cells[0][:26])
            tokens = sum(float(cell) for cell in cells[1:_TRACE_COLUMNS])
        except ValueError:
            raise BadRequest(f"row {number} of the trace is not `time,input tokens,output tokens`: {row!r}") from None
        first = first or moment
        yield Arrival((moment - first).total_seconds() / speed, tokens)
