"""The ledger under any sequence of requests, endings, ramps and capacities."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pyworker.errors import QueueFull
from pyworker.worker.core.ledger import MICRO, Entry, Lane, Ledger, Outcome, Stage

WORKLOADS = st.one_of(st.floats(0, 1e6), st.integers(0, 1000), st.sampled_from([0, 0.1, 1e12]))


class LedgerMachine(RuleBasedStateMachine):
    """Beside the ledger stands a plain list of who came, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.now_s = 0.0
        self.lanes = [Lane("serial", 1), Lane("three", 3), Lane("parallel", None)]
        self.came: list[Entry] = []
        self.endings: Counter[Outcome] = Counter()
        self.woken: set[int] = set()  # positions in `came` whose turn came later

    @initialize(ramp=st.none() | st.integers(1, 3))
    def start(self, ramp: int | None) -> None:
        self.ledger.set_ramp(ramp, 0.0)

    # --- what may happen ---

    @rule(
        lane=st.sampled_from(range(3)),
        workload=WORKLOADS,
        max_wait_s=st.none() | st.floats(0, 100),
        request_idx=st.integers(0, 5),
        in_session=st.booleans(),
    )
    def admit(self, lane: int, workload: float, max_wait_s: float | None, request_idx: int, in_session: bool) -> None:
        wait_s = self.ledger.expected_wait_s()
        try:
            entry = self.ledger.admit(
                self.lanes[lane],
                workload,
                self._tick(),
                wake=lambda: None,
                max_wait_s=max_wait_s,
                request_idx=request_idx,
                in_session=in_session,
            )
        except QueueFull:
            assert max_wait_s is not None
            assert wait_s > max_wait_s
            self.endings[Outcome.REJECTED] += 1
        else:
            assert max_wait_s is None or wait_s <= max_wait_s
            self.came.append(entry)

    @precondition(lambda self: self._in(Stage.WORKING))
    @rule(data=st.data(), outcome=st.sampled_from([Outcome.SERVED, Outcome.ERRORED, Outcome.CANCELLED]))
    def finish(self, data: st.DataObject, outcome: Outcome) -> None:
        self._settle(data.draw(st.sampled_from(self._in(Stage.WORKING))), outcome)

    @precondition(lambda self: self._in(Stage.WAITING))
    @rule(data=st.data(), outcome=st.sampled_from([Outcome.REJECTED, Outcome.CANCELLED, Outcome.ERRORED]))
    def leave_the_line(self, data: st.DataObject, outcome: Outcome) -> None:
        """It waited longer than its limit, its client left, or the worker is stopped."""
        self._settle(data.draw(st.sampled_from(self._in(Stage.WAITING))), outcome)

    @precondition(lambda self: self._in(Stage.SETTLED))
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def settle_again(self, data: st.DataObject, outcome: Outcome) -> None:
        """Whoever settles twice is not heard."""
        entry = data.draw(st.sampled_from(self._in(Stage.SETTLED)))
        before = (repr(self.ledger), entry.outcome, entry.settled_s)
        assert self.ledger.settle(entry, outcome, self._tick()) == []
        assert (repr(self.ledger), entry.outcome, entry.settled_s) == before

    @precondition(lambda self: self.came)
    @rule(data=st.data(), workload=WORKLOADS)
    def correct(self, data: st.DataObject, workload: float) -> None:
        """What has ended is not booked anew."""
        entry = data.draw(st.sampled_from(self.came))
        before, is_settled = entry.workload_micro, entry.stage is Stage.SETTLED
        self.ledger.correct(entry, workload)
        assert entry.workload_micro == (before if is_settled else round(workload * MICRO))

    @rule(ramp=st.none() | st.integers(1, 64))
    def set_ramp(self, ramp: int | None) -> None:
        self._took_their_turn(self.ledger.set_ramp(ramp, self._tick()))

    @rule(capacity_per_s=st.just(0.0) | st.floats(0.001, 1e6))
    def set_capacity(self, capacity_per_s: float) -> None:
        self.ledger.capacity_per_s = capacity_per_s

    # --- what always holds ---

    @invariant()
    def the_books_balance(self) -> None:
        assert self.ledger.imbalance() == 0

    @invariant()
    def the_books_say_what_happened(self) -> None:
        names = ", ".join(f"{outcome.name.lower()}={self.endings[outcome]}" for outcome in Outcome)
        waiting, working = len(self._in(Stage.WAITING)), len(self._in(Stage.WORKING))
        received = sum(self.endings.values()) + waiting + working
        assert repr(self.ledger) == f"<Ledger received={received}, {names}, {waiting=}, {working=}>"
        assert list(self.ledger.in_flight) == [entry for entry in self.came if entry.stage is not Stage.SETTLED]

    @invariant()
    def the_line_is_in_order(self) -> None:
        for lane in self.lanes:
            assert list(lane.waiting) == [entry for entry in self._in(Stage.WAITING) if entry.lane is lane]

    @invariant()
    def nobody_works_without_a_slot(self) -> None:
        for lane in self.lanes:
            assert lane.working == sum(entry.lane is lane for entry in self._in(Stage.WORKING))
            assert lane.slots is None or lane.working <= lane.slots

    @invariant()
    def nobody_waits_beside_a_free_slot(self) -> None:
        ramp = self.ledger.ramp
        for lane in self.lanes:
            free = (lane.slots is None or lane.working < lane.slots) and (ramp is None or lane.working < ramp)
            assert not (free and lane.waiting)

    @invariant()
    def an_entry_knows_its_own_times(self) -> None:
        for entry in self.came:
            assert (entry.stage is Stage.SETTLED) == (entry.outcome is not None) == (entry.settled_s is not None)
            assert (entry.started_s is not None) or entry.stage is not Stage.WORKING
            assert entry.received_s <= (entry.started_s or entry.received_s) <= (entry.settled_s or self.now_s)

    def teardown(self) -> None:
        """Everybody leaves: nothing is left of them."""
        for entry in list(self.ledger.in_flight):
            self._settle(entry, Outcome.CANCELLED)
        assert (self.ledger.in_flight_count, self.ledger.in_flight_workload, self.ledger.imbalance()) == (0, 0.0, 0)
        assert all(lane.working == 0 and not lane.waiting for lane in self.lanes)

    # --- the machine's own ---

    def _tick(self) -> float:
        self.now_s += 1.0
        return self.now_s

    def _in(self, stage: Stage) -> list[Entry]:
        return [entry for entry in self.came if entry.stage is stage]

    def _settle(self, entry: Entry, outcome: Outcome) -> None:
        was_waiting = entry.stage is Stage.WAITING
        started = self.ledger.settle(entry, outcome, self._tick())
        self.endings[outcome] += 1
        assert entry.outcome is outcome
        if was_waiting and self.ledger.ramp is None:
            assert started == []
        self._took_their_turn(started)

    def _took_their_turn(self, started: list[Entry]) -> None:
        """They are at work, were never told before, and each was the first of its line."""
        for entry in started:
            position = self.came.index(entry)
            assert entry.stage is Stage.WORKING
            assert entry.started_s == self.now_s
            assert position not in self.woken
            self.woken.add(position)
            assert not any(other.stage is Stage.WAITING and other.lane is entry.lane for other in self.came[:position])


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=80, stateful_step_count=50)
