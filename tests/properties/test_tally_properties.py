"""Reports and finished requests while requests come and go, and posts arrive or do not: nothing lost, nothing twice."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pyworker.errors import QueueFull
from pyworker.worker.core.ledger import MICRO, Entry, Lane, Ledger, Outcome, Stage
from pyworker.worker.core.status import Finished, Outbox, Tally, TallyBook, finished


def micro(workload: float) -> int:
    return round(workload * MICRO)


class ReportMachine(RuleBasedStateMachine):
    """One report and one batch of finished requests at a time are in the air, as the reporter sends them."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.ledger.capacity_per_s = 100.0
        self.lanes = [Lane("serial", 1), Lane("parallel", None)]
        self.entries: list[Entry] = []
        self.book = TallyBook(self.ledger)
        self.report: Tally | None = None
        self.told_micro = {"new": 0, "rejected": 0, "served": 0}
        self.told_disk_gb = 0.0
        self.clamped_micro = 0  # what was cancelled or corrected after it had been reported, more than came anew
        self.delivered_new_micro = 0  # admitted less cancelled, as of the last delivered report
        self.report_new_micro = 0
        self.disk_gb = 0.0
        self.outbox = Outbox()
        self.batch: list[Finished] | None = None
        self.ended: list[int] = []
        self.told_ended: list[int] = []

    # --- requests ---

    @rule(lane=st.sampled_from([0, 1]), workload=st.floats(0, 1000), max_wait_s=st.none() | st.just(5.0))
    def admit(self, lane: int, workload: float, max_wait_s: float | None) -> None:
        number = len(self.entries) + 1
        try:
            entry = self.ledger.admit(
                self.lanes[lane], workload, 1.0, wake=lambda: None, max_wait_s=max_wait_s, request_idx=number
            )
        except QueueFull:
            return
        self.entries.append(entry)

    def _in_flight(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.stage is not Stage.SETTLED]

    @precondition(lambda self: self._in_flight())
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def settle(self, data: st.DataObject, outcome: Outcome) -> None:
        entry = data.draw(st.sampled_from(self._in_flight()))
        self.ledger.settle(entry, outcome, 2.0)
        record = finished(entry)
        assert record is not None
        self.outbox.add(record)
        self.ended.append(record.request_idx)

    @precondition(lambda self: self._in_flight())
    @rule(data=st.data(), workload=st.floats(0, 1000))
    def correct(self, data: st.DataObject, workload: float) -> None:
        """The answer shows more or less work than was admitted. What was told too much is clamped, as with a cancel."""
        self.ledger.correct(data.draw(st.sampled_from(self._in_flight())), workload)

    @rule(gb=st.floats(0, 100))
    def use_disk(self, gb: float) -> None:
        self.disk_gb = gb

    # --- reports ---

    def _new_micro(self) -> int:
        """Admitted less cancelled, since start."""
        gone = (
            self.ledger.settled[Outcome.REJECTED].workload_micro + self.ledger.settled[Outcome.CANCELLED].workload_micro
        )
        return self.ledger.received.workload_micro - gone

    @precondition(lambda self: self.report is None)
    @rule()
    def send_report(self) -> None:
        self.report, self.report_new_micro = self.book.take_tally(self.disk_gb), self._new_micro()
        assert min(self.report.new_load, self.report.rejected_load, self.report.served_load) >= 0

    @precondition(lambda self: self.report is not None)
    @rule()
    def report_is_lost(self) -> None:
        self.report = None

    @precondition(lambda self: self.report is not None)
    @rule()
    def report_arrives(self) -> None:
        report, self.report = self.report, None
        assert report is not None
        self.book.delivered(report)
        self.told_micro["new"] += micro(report.new_load)
        self.told_micro["rejected"] += micro(report.rejected_load)
        self.told_micro["served"] += micro(report.served_load)
        self.told_disk_gb += report.additional_disk_gb
        self.clamped_micro += max(0, self.delivered_new_micro - self.report_new_micro)
        self.delivered_new_micro = self.report_new_micro

    # --- finished requests ---

    @precondition(lambda self: self.batch is None)
    @rule(most=st.integers(1, 4))
    def send_finished(self, most: int) -> None:
        self.batch = self.outbox.batch(most) or None

    @precondition(lambda self: self.batch is not None)
    @rule(arrives=st.booleans())
    def finished_were_sent(self, arrives: bool) -> None:
        batch, self.batch = self.batch, None
        if arrives and batch is not None:
            self.outbox.accepted(batch)
            self.told_ended += [one.request_idx for one in batch]

    @invariant()
    def finished_requests_are_told_in_order_and_once(self) -> None:
        assert self.told_ended + [one.request_idx for one in self.outbox.batch(10**9)] == self.ended

    @invariant()
    def no_more_is_told_than_happened(self) -> None:
        settled = self.ledger.settled
        assert self.told_micro["served"] <= settled[Outcome.SERVED].workload_micro
        assert self.told_micro["rejected"] <= settled[Outcome.REJECTED].workload_micro

    def teardown(self) -> None:
        """The engine is there again, and is told all."""
        finish: list[Callable[[], None]] = [self.send_report, self.report_arrives] if self.report is None else []
        if self.report is not None:
            finish = [self.report_arrives, self.send_report, self.report_arrives]
        for step in finish:
            step()
        settled = self.ledger.settled
        assert self.told_micro["served"] == settled[Outcome.SERVED].workload_micro
        assert self.told_micro["rejected"] == settled[Outcome.REJECTED].workload_micro
        assert self.told_micro["new"] - self.clamped_micro == self._new_micro()
        assert abs(self.told_disk_gb - self.disk_gb) < 1e-6


TestReportMachine = ReportMachine.TestCase
TestReportMachine.settings = settings(max_examples=80, stateful_step_count=50)
