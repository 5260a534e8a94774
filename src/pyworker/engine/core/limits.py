"""How often an engine may be called: token buckets. Pure; ``now_s`` is the engine's monotonic clock.

A bucket holds at most ``burst`` tokens and gets ``per_s`` of them a second; a call takes one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Final

__all__ = ["Buckets", "Limits", "Rate", "Rates", "source_of"]

MOST_SOURCES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Rate:
    """So many calls a second, and so many at once."""

    per_s: float
    burst: float


@dataclass(frozen=True, slots=True)
class Rates:
    """``failures`` of authentication by ``source_of``, ``reports`` by mtoken, ``management`` calls by account key."""

    failures: Rate = Rate(10.0, 20.0)
    reports: Rate = Rate(10.0, 30.0)
    management: Rate = Rate(50.0, 100.0)


def source_of(address: str) -> str:
    """Whose calls from this address are counted together: an IPv4 address, or the /64 that an IPv6 address lies in.

    Whoever has one IPv6 address has 2**64 of them.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else str(ip_network((int(parsed) >> 64 << 64, 64)))


class Buckets:
    """A bucket for each source. Of the ``most`` sources that are known the one longest silent is forgotten first."""

    def __init__(self, rate: Rate, most: int = MOST_SOURCES) -> None:
        self._rate = rate
        self._most = most
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # tokens, and when that was

    def wait_s(self, source: Hashable, now_s: float) -> float:
        """0 when the source may call: the call is counted. Else in how many s it may."""
        left, then_s = self._left.pop(source, (self._rate.burst, now_s))
        left = min(self._rate.burst, left + max(0.0, now_s - then_s) * self._rate.per_s)
        may = left >= 1.0
        self._left[source] = (left - may, now_s)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return 0.0 if may else (1.0 - left) / self._rate.per_s


@dataclass(slots=True)
class Limits:
    """The buckets of one engine."""

    rates: Rates
    failures: Buckets = field(init=False)
    reports: Buckets = field(init=False)
    management: Buckets = field(init=False)

    def __post_init__(self) -> None:
        """Make them, full."""
        self.failures = Buckets(self.rates.failures)
        self.reports = Buckets(self.rates.reports)
        self.management = Buckets(self.rates.management)
