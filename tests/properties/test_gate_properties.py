"""Tickets in any order, with any delays: each is admitted at most once, and never when it should not be."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pyworker.errors import TicketOvertaken
from pyworker.tickets import TicketKey, issue_ticket
from pyworker.wire import AuthData
from pyworker.worker.core.gate import LEEWAY_S, Gate, Grant

KEYS = (TicketKey("old", b"o" * 32), TicketKey("new", b"n" * 32))
URL = "http://10.0.0.1:3000"
CLAIMS = AuthData(cost=1, endpoint="e", reqnum=1, url=URL, signature="")
START_S = 1_000_000.0


@dataclass
class Issued:
    auth_data: AuthData
    issued_s: float
    expires_s: float
    admissions: int = 0


class GateMachine(RuleBasedStateMachine):
    """Clients hold tickets and checked grants; the worker restarts now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = START_S + 10.0
        self.started_s = START_S
        self.gate = self.new_gate()
        self.issued: list[Issued] = []
        self.checked: list[tuple[Issued, Grant]] = []
        self.admitted: list[tuple[Issued, Grant]] = []

    def new_gate(self) -> Gate:
        return Gate(url=URL, unsecured=False, ticket_keys=KEYS, started_s=self.started_s)

    @rule(key=st.sampled_from(KEYS), life_s=st.sampled_from([1.0, 60.0]), ahead_s=st.floats(-5, 5))
    def issue(self, key: TicketKey, life_s: float, ahead_s: float) -> None:
        """By a clock that is a little off."""
        issued_s = int((self.now_s + ahead_s) * 1000) / 1000
        nonce = len(self.issued).to_bytes(16, "big")
        signature = issue_ticket(key, CLAIMS, now_s=issued_s, nonce=nonce, life_s=life_s)
        self.issued.append(Issued(replace(CLAIMS, signature=signature), issued_s, issued_s + life_s))

    @precondition(lambda self: self.issued)
    @rule(data=st.data())
    def check(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.issued))
        try:
            grant = self.gate.check(ticket.auth_data, self.now_s)
        except TicketOvertaken:
            assert ticket.admissions or self.is_out_of_time(ticket, slack_s=0.002)
        else:
            assert not ticket.admissions
            assert not self.is_out_of_time(ticket, slack_s=-0.002)
            self.checked.append((ticket, grant))

    def is_out_of_time(self, ticket: Issued, *, slack_s: float) -> bool:
        """Tickets count in ms: what lies that near may be decided either way."""
        early = ticket.issued_s < self.started_s + slack_s
        return early or self.now_s > ticket.expires_s + LEEWAY_S - slack_s

    @precondition(lambda self: self.checked)
    @rule(data=st.data())
    def admit(self, data: st.DataObject) -> None:
        ticket, grant = data.draw(st.sampled_from(self.checked))
        self.checked.remove((ticket, grant))
        try:
            self.gate.spend(grant, self.now_s)
        except TicketOvertaken:
            assert ticket.admissions
        else:
            ticket.admissions += 1
            self.admitted.append((ticket, grant))

    @precondition(lambda self: self.admitted)
    @rule(data=st.data())
    def come_again(self, data: st.DataObject) -> None:
        """With a ticket that let somebody in."""
        ticket, _ = data.draw(st.sampled_from(self.admitted))
        try:
            self.gate.check(ticket.auth_data, self.now_s)
        except TicketOvertaken:
            return
        raise AssertionError("a ticket was good twice")

    @precondition(lambda self: self.admitted)
    @rule(data=st.data())
    def refuse_after_all(self, data: st.DataObject) -> None:
        """It waited too long: 429."""
        ticket, grant = data.draw(st.sampled_from(self.admitted))
        self.admitted.remove((ticket, grant))
        self.gate.give_back(grant)
        ticket.admissions -= 1

    @rule(time_s=st.sampled_from([0.01, 1.0, 30.0, 95.0]))
    def wait(self, time_s: float) -> None:
        self.now_s += time_s

    @rule()
    def restart(self) -> None:
        """The nonces are gone, and so is everybody who was let in; tickets from before are good no more."""
        self.now_s += 5.01  # as far as the engine's clock may be ahead
        self.started_s = self.now_s
        self.gate = self.new_gate()
        self.checked.clear()
        self.admitted.clear()

    @invariant()
    def each_ticket_admits_one_request(self) -> None:
        assert all(ticket.admissions <= 1 for ticket in self.issued)


TestGateMachine = GateMachine.TestCase
TestGateMachine.settings = settings(max_examples=80, stateful_step_count=40)
