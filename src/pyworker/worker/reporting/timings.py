"""How long requests took, for the metrics of a worker."""

from __future__ import annotations

from prometheus_client.metrics_core import Metric

from pyworker.metrics import Histogram

__all__ = ["Timings"]


class Timings:
    """How long requests waited, worked, and had to wait for the model's first byte."""

    def __init__(self) -> None:
        self.queue = Histogram("pyworker_queue_seconds", "Time a request waited in this worker's queue.")
        self.work = Histogram("pyworker_work_seconds", "Time from a request's turn to the end of its answer.")
        self.first_byte = Histogram(
            "pyworker_first_byte_seconds", "Time from a request's turn to the head of the model's answer."
        )

    def families(self) -> list[Metric]:
        """All of them."""
        return [self.queue.family(), self.work.family(), self.first_byte.family()]
