"""The numbers that authors may show, read from the running worker's parts."""

from __future__ import annotations

from dataclasses import dataclass

from pyworker.author_metrics import ModelMetrics, RequestIndices, RequestMetrics, SystemMetrics
from pyworker.worker.books import Books
from pyworker.worker.core.ledger import Outcome, Stage
from pyworker.worker.core.readiness import Readiness
from pyworker.worker.reporting.reporter import Disk, Reporter

__all__ = ["AuthorView"]


@dataclass(frozen=True, slots=True)
class AuthorView:
    """A ``MetricsSource``."""

    books: Books
    readiness: Readiness
    reporter: Reporter
    disk: Disk
    started_s: float

    def system_metrics(self) -> SystemMetrics:
        """For authors' own routes."""
        tally = self.reporter.tally()
        return SystemMetrics(
            model_loading_start=self.started_s,
            model_loading_time=self.readiness.load_time_s or None,
            last_disk_usage=self.disk.used_gb,
            additional_disk_usage=tally.additional_disk_gb,
            model_is_loaded=self.readiness.first_ready_s is not None,
        )

    def model_metrics(self) -> ModelMetrics:
        """For authors' own routes."""
        ledger = self.books.ledger
        settled = {outcome: books.workload for outcome, books in ledger.settled.items()}
        working = {
            entry.request_idx: RequestMetrics(
                entry.request_idx, 0, entry.workload, "Started" if entry.stage is Stage.WORKING else "Created"
            )
            for entry in ledger.in_flight
        }
        return ModelMetrics(
            workload_served=settled[Outcome.SERVED],
            workload_received=ledger.received.workload,
            workload_cancelled=settled[Outcome.CANCELLED],
            workload_errored=settled[Outcome.ERRORED],
            workload_rejected=settled[Outcome.REJECTED],
            workload_pending=ledger.in_flight_workload,
            cur_perf=self.reporter.tally().served_load,
            error_msg=self.readiness.error,
            max_throughput=ledger.capacity_per_s,
            requests_recieved=RequestIndices(ledger.remembered_requests, ledger.distinct_requests),
            requests_working=working,
        )
