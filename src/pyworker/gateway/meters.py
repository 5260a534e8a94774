"""What a gateway counts, and how it shows it to Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from prometheus_client.metrics_core import Metric

from pyworker.intake import Intake
from pyworker.metrics import Histogram, counters, gauge

__all__ = ["Meters"]


class Meters:
    """Counts since start, and what ``intake`` holds now.

    Of who was not let in the endpoint is ``""``: anybody can invent names.
    """

    def __init__(self, intake: Intake) -> None:
        self.in_flight = 0
        self._intake = intake
        self.answers: Counter[tuple[str, ...]] = Counter()
        self.broken: Counter[tuple[str, ...]] = Counter()
        self.first_byte_seconds = Histogram(
            "pyworker_gateway_first_byte_seconds", "From a request to the head of its answer, waiting included."
        )

    def answered(self, endpoint: str, status: int, took_s: float) -> None:
        """The head of an answer is on its way."""
        self.answers[endpoint, str(status)] += 1
        self.first_byte_seconds.observe(took_s)

    def refused(self, status: int) -> None:
        """It was no worker's answer."""
        self.answers["", str(status)] += 1

    def broke_off(self, endpoint: str) -> None:
        """A worker has gone in the middle of its answer."""
        self.broken[(endpoint,)] += 1

    def families(self) -> Iterable[Metric]:
        """All of it."""
        yield gauge("pyworker_gateway_requests_in_flight", "Requests that are not answered whole.", self.in_flight)
        held_bytes = self._intake.held_bytes
        yield gauge("pyworker_gateway_body_bytes_held", "Bodies of requests that have no answer yet.", held_bytes)
        yield counters("pyworker_gateway_answers", "Answers by status.", ("endpoint", "status"), self.answers)
        yield counters("pyworker_gateway_broken_answers", "Answers cut off by a worker.", ("endpoint",), self.broken)
        yield self.first_byte_seconds.family()
