"""What the engine is told: the report since the last delivered one, and finished requests until accepted. Pure.

A report gives back what it took: totals run on, and only a delivered report moves the mark they are counted from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from pyworker.wire import FinishedRequest
from pyworker.worker.core.ledger import MICRO, Entry, Ledger, Outcome

__all__ = ["Finished", "Mark", "Outbox", "Tally", "TallyBook", "finished", "on_wire"]


@dataclass(frozen=True, slots=True)
class Mark:
    """Running totals at one moment; workload in millionths, disk in GB."""

    admitted_micro: int = 0
    cancelled_micro: int = 0
    rejected_micro: int = 0
    served_micro: int = 0
    disk_gb: float = 0.0


@dataclass(frozen=True, slots=True)
class Tally:
    """The difference between two marks, as a report says it. Workload in the worker's unit."""

    mark: Mark
    new_load: float
    rejected_load: float
    served_load: float
    additional_disk_gb: float


class TallyBook:
    """Takes tallies from a ledger; ``delivered()`` makes the next one start where this one ended."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._delivered = Mark()

    def take_tally(self, disk_gb: float) -> Tally:
        """What happened since the last delivered report. Taking it changes nothing."""
        settled, last = self._ledger.settled, self._delivered
        rejected = settled[Outcome.REJECTED].workload_micro
        mark = Mark(
            admitted_micro=self._ledger.received.workload_micro - rejected,
            cancelled_micro=settled[Outcome.CANCELLED].workload_micro,
            rejected_micro=rejected,
            served_micro=settled[Outcome.SERVED].workload_micro,
            disk_gb=disk_gb,
        )
        new = (mark.admitted_micro - last.admitted_micro) - (mark.cancelled_micro - last.cancelled_micro)
        return Tally(
            mark=mark,
            new_load=max(0, new) / MICRO,
            rejected_load=(mark.rejected_micro - last.rejected_micro) / MICRO,
            served_load=(mark.served_micro - last.served_micro) / MICRO,
            additional_disk_gb=disk_gb - last.disk_gb,
        )

    def delivered(self, tally: Tally) -> None:
        """The engine has it."""
        self._delivered = tally.mark


class Finished(msgspec.Struct, frozen=True):
    """A request that has ended; times in s on the ledger's clock. ``workload`` is None where nobody has counted it."""

    request_idx: int
    outcome: Outcome
    received_s: float
    started_s: float | None
    settled_s: float
    workload: float | None = None


def finished(entry: Entry) -> Finished | None:
    """What the engine is told of a settled request; None for one it cannot know (no index, or in a session)."""
    if entry.in_session or not entry.request_idx or entry.outcome is None or entry.settled_s is None:
        return None
    workload = 0.0 if entry.started_s is None else entry.workload  # what was never begun was no work
    return Finished(entry.request_idx, entry.outcome, entry.received_s, entry.started_s, entry.settled_s, workload)


class Outbox:
    """Finished requests until the engine has accepted them; the oldest are dropped above ``bound``."""

    def __init__(self, bound: int = 100_000) -> None:
        self._waiting: deque[Finished] = deque()
        self._bound = bound
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: Finished) -> None:
        """Put one in."""
        self._waiting.append(request)
        while len(self._waiting) > self._bound:
            self._waiting.popleft()
            self.dropped += 1

    def batch(self, most: int = 1000) -> list[Finished]:
        """The oldest ones. They stay until ``accepted``."""
        return [self._waiting[i] for i in range(min(most, len(self._waiting)))]

    def accepted(self, batch: Sequence[Finished]) -> None:
        """The engine has these: the batch that was taken last."""
        sent = set(map(id, batch))
        while self._waiting and id(self._waiting[0]) in sent:
            self._waiting.popleft()


def on_wire(request: Finished, *, epoch_offset_s: float) -> FinishedRequest:
    """As ``/delete_requests/`` says it; ``epoch_offset_s`` turns the ledger's clock to epoch s."""

    def epoch(time_s: float | None) -> float | None:
        return None if time_s is None else time_s + epoch_offset_s

    return FinishedRequest(
        request_idx=request.request_idx,
        success=request.outcome in {Outcome.SERVED, Outcome.CANCELLED},
        status=request.outcome.value,
        entered_queue_at=epoch(request.received_s),
        work_started_at=epoch(request.started_s),
        work_completed_at=epoch(request.settled_s),
        workload=request.workload,
    )
