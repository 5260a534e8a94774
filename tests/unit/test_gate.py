"""Who is let in: tickets good once, the RSA schemes, anybody."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from pyworker.errors import AuthenticationFailed, NotReady, TicketOvertaken
from pyworker.tickets import LIFE_S, Scheme, TicketKey, issue_ticket, rsa_message, sign_rsa
from pyworker.wire import AuthData
from pyworker.worker.core import gate as gate_module
from pyworker.worker.core.gate import LEEWAY_S, Gate, Grant, Mode
from tests.support.fleets import rsa_key

URL = "http://10.0.0.1:3000"
STARTED_S = 1_000_000.0
NOW_S = STARTED_S + 100.0
KEY = TicketKey("k1", b"s" * 32)

Nonces = Callable[[], bytes]


@pytest.fixture
def nonce() -> Nonces:
    """A new one each time."""
    numbers = iter(range(1, 1000))
    return lambda: next(numbers).to_bytes(16, "big")


def ticket_gate(*keys: TicketKey) -> Gate:
    return Gate(url=URL, unsecured=False, ticket_keys=keys or (KEY,), started_s=STARTED_S)


def signature_gate(*, knows_key: bool = True) -> Gate:
    gate = Gate(url=URL, unsecured=False, ticket_keys=(), started_s=STARTED_S)
    if knows_key:
        gate.trust(rsa_key().public_key())
    return gate


def claims(**given: Any) -> AuthData:
    fields: dict[str, Any] = {"cost": 30, "endpoint": "e", "reqnum": 5, "url": URL, "signature": "", "request_idx": 7}
    return AuthData(**(fields | given))


def ticket(
    nonce: bytes, *, issued_s: float = NOW_S, life_s: float = LIFE_S, key: TicketKey = KEY, **given: Any
) -> AuthData:
    auth_data = claims(**given)
    return replace(auth_data, signature=issue_ticket(key, auth_data, now_s=issued_s, nonce=nonce, life_s=life_s))


def signed(scheme: Scheme, key: rsa.RSAPrivateKey | None = None, **given: Any) -> AuthData:
    auth_data = claims(**given)
    return replace(auth_data, signature=sign_rsa(key or rsa_key(), rsa_message(scheme, auth_data)))


# --- modes ----------------------------------------------------------------------------------------


def test_a_ticket_key_means_tickets_and_nothing_else(nonce: Nonces) -> None:
    gate = ticket_gate()
    assert gate.mode is Mode.TICKET
    gate.trust(rsa_key().public_key())
    for scheme in (1, 3, 4):
        with pytest.raises(AuthenticationFailed):
            gate.check(signed(scheme), NOW_S)
    assert gate.check(ticket(nonce()), NOW_S).nonce


def test_without_a_ticket_key_signatures_are_asked_for(nonce: Nonces) -> None:
    gate = signature_gate()
    assert gate.mode is Mode.SIGNATURE
    with pytest.raises(AuthenticationFailed):
        gate.check(ticket(nonce()), NOW_S)


def test_unsecured_lets_anybody_in_and_has_nothing_to_spend() -> None:
    gate = Gate(url=URL, unsecured=True, ticket_keys=(KEY,), started_s=STARTED_S)
    assert gate.mode is Mode.OFF
    for _ in range(2):
        grant = gate.check(claims(url="http://elsewhere", signature="nothing"), NOW_S)
        assert grant == Grant()
        gate.spend(grant, NOW_S)


# --- tickets --------------------------------------------------------------------------------------


def test_a_ticket_is_good_once(nonce: Nonces) -> None:
    gate = ticket_gate()
    auth_data = ticket(nonce())
    gate.spend(gate.check(auth_data, NOW_S), NOW_S)
    with pytest.raises(TicketOvertaken):
        gate.check(auth_data, NOW_S + 1)


def test_a_ticket_that_was_only_checked_stays_good(nonce: Nonces) -> None:
    """A 503 comes between check and admission."""
    gate = ticket_gate()
    auth_data = ticket(nonce())
    assert gate.check(auth_data, NOW_S) == gate.check(auth_data, NOW_S + 1)


def test_a_ticket_that_is_given_back_is_good_again(nonce: Nonces) -> None:
    """After a 429."""
    gate = ticket_gate()
    auth_data = ticket(nonce())
    grant = gate.check(auth_data, NOW_S)
    gate.spend(grant, NOW_S)
    gate.give_back(grant)
    gate.spend(gate.check(auth_data, NOW_S), NOW_S)
    with pytest.raises(TicketOvertaken):
        gate.check(auth_data, NOW_S)


def test_of_two_requests_checked_with_one_ticket_only_the_first_is_admitted(nonce: Nonces) -> None:
    gate = ticket_gate()
    auth_data = ticket(nonce())
    first, second = gate.check(auth_data, NOW_S), gate.check(auth_data, NOW_S)
    gate.spend(first, NOW_S)
    with pytest.raises(TicketOvertaken):
        gate.spend(second, NOW_S)


def test_a_ticket_is_good_until_its_life_and_the_leeway_are_over(nonce: Nonces) -> None:
    gate = ticket_gate()
    auth_data = ticket(nonce())
    assert gate.check(auth_data, NOW_S + LIFE_S + LEEWAY_S)
    with pytest.raises(TicketOvertaken):
        gate.check(auth_data, NOW_S + LIFE_S + LEEWAY_S + 0.01)


def test_a_ticket_from_the_future_is_good_within_the_leeway(nonce: Nonces) -> None:
    gate = ticket_gate()
    assert gate.check(ticket(nonce(), issued_s=NOW_S + LEEWAY_S), NOW_S)
    with pytest.raises(TicketOvertaken):
        gate.check(ticket(nonce(), issued_s=NOW_S + LEEWAY_S + 0.01), NOW_S)


@pytest.mark.parametrize("ahead_s", [3600, -3600])
def test_times_are_those_of_the_engines_clock(nonce: Nonces, ahead_s: float) -> None:
    gate = ticket_gate()
    gate.clock.heard(NOW_S + ahead_s, sent_s=NOW_S, received_s=NOW_S)
    auth_data = ticket(nonce(), issued_s=NOW_S + ahead_s + 1)
    gate.spend(gate.check(auth_data, NOW_S + LIFE_S), NOW_S + LIFE_S)
    with pytest.raises(TicketOvertaken):
        gate.check(ticket(nonce(), issued_s=NOW_S), NOW_S)  # an hour old, or an hour too early, over there


def test_a_ticket_issued_before_the_worker_started_is_overtaken(nonce: Nonces) -> None:
    """Which of those were spent, the worker before it knew."""
    gate = ticket_gate()
    with pytest.raises(TicketOvertaken):
        gate.check(ticket(nonce(), issued_s=STARTED_S - 0.001), STARTED_S + 1)
    assert gate.check(ticket(nonce(), issued_s=STARTED_S), STARTED_S + 1)


def test_a_ticket_is_good_at_its_own_worker_only(nonce: Nonces) -> None:
    gate = ticket_gate()
    with pytest.raises(AuthenticationFailed):
        gate.check(ticket(nonce(), url="http://10.0.0.2:3000"), NOW_S)
    with pytest.raises(AuthenticationFailed):
        gate.check(replace(ticket(nonce(), url="http://10.0.0.2:3000"), url=URL), NOW_S)


def test_a_slash_at_the_end_of_the_url_is_no_difference(nonce: Nonces) -> None:
    assert ticket_gate().check(ticket(nonce(), url=URL + "/"), NOW_S)
    assert Gate(url=URL + "/", unsecured=False, ticket_keys=(KEY,), started_s=STARTED_S).check(ticket(nonce()), NOW_S)


@pytest.mark.parametrize(
    "changed", [{"cost": 31}, {"cost": 0}, {"endpoint": "f"}, {"reqnum": 6}, {"request_idx": 8}, {"signature": "x"}]
)
def test_a_ticket_for_other_claims_does_not_hold(nonce: Nonces, changed: dict[str, Any]) -> None:
    with pytest.raises(AuthenticationFailed):
        ticket_gate().check(replace(ticket(nonce()), **changed), NOW_S)


def test_keys_change_with_an_overlap(nonce: Nonces) -> None:
    new = TicketKey("k2", b"n" * 32)
    gate = ticket_gate(KEY, new)
    assert gate.check(ticket(nonce(), key=KEY), NOW_S)
    assert gate.check(ticket(nonce(), key=new), NOW_S)
    with pytest.raises(AuthenticationFailed):
        ticket_gate(new).check(ticket(nonce(), key=KEY), NOW_S)


def test_a_known_key_id_with_another_secret_does_not_hold(nonce: Nonces) -> None:
    with pytest.raises(AuthenticationFailed):
        ticket_gate().check(ticket(nonce(), key=TicketKey(KEY.id, b"x" * 32)), NOW_S)


def test_nonces_are_remembered_until_their_tickets_have_expired(nonce: Nonces, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "_NONCES_REMEMBERED", 2)
    gate = ticket_gate()
    first, second, third = (ticket(nonce(), issued_s=NOW_S + i) for i in range(3))
    gate.spend(gate.check(first, NOW_S), NOW_S)
    gate.spend(gate.check(second, NOW_S), NOW_S)
    grant = gate.check(third, NOW_S + 2)
    with pytest.raises(NotReady):  # no room: a ticket that could be used again would be worse
        gate.spend(grant, NOW_S + 2)
    gone_s = NOW_S + LIFE_S + LEEWAY_S + 0.01
    gate.spend(gate.check(third, gone_s), gone_s)  # the first has expired and made room
    with pytest.raises(TicketOvertaken):
        gate.check(second, gone_s)
    with pytest.raises(TicketOvertaken):
        gate.check(first, gone_s)


# --- signatures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [1, 3, 4])
@pytest.mark.parametrize("cost", [242, 242.0, 0.5])
def test_whichever_scheme_holds_is_taken(scheme: Scheme, cost: float) -> None:
    """The cost is signed as it stood in the JSON."""
    gate = signature_gate()
    gate.spend(gate.check(signed(scheme, cost=cost), NOW_S), NOW_S)


@pytest.mark.parametrize(
    ("scheme", "changed"),
    [
        (1, {"cost": 31}),
        (1, {"cost": 30.0}),
        (1, {"endpoint": "f"}),
        (1, {"reqnum": 6}),
        (3, {"cost": 31}),
        (3, {"request_idx": 8}),
        (4, {"signature": base64.b64encode(b"x" * 256).decode()}),
        (4, {"signature": "not base64"}),
        (4, {"signature": ""}),
    ],
)
def test_a_signature_for_something_else_does_not_hold(scheme: Scheme, changed: dict[str, Any]) -> None:
    with pytest.raises(AuthenticationFailed):
        signature_gate().check(replace(signed(scheme), **changed), NOW_S)


@pytest.mark.parametrize("scheme", [1, 3, 4])
def test_a_signature_for_another_worker_does_not_hold(scheme: Scheme) -> None:
    with pytest.raises(AuthenticationFailed) as refused:
        signature_gate().check(signed(scheme, url="http://10.0.0.2:3000"), NOW_S)
    assert refused.value.detail == "it is signed for another worker's url"


def test_scheme_4_signs_the_address_alone() -> None:
    """So the same signature comes with every request."""
    gate = signature_gate()
    auth_data = signed(4)
    for reqnum in (5, 5, 900, 1):
        grant = gate.check(replace(auth_data, reqnum=reqnum, cost=reqnum), NOW_S)
        assert grant == Grant()
        gate.spend(grant, NOW_S)


@pytest.mark.parametrize("scheme", [1, 3])
def test_schemes_1_and_3_refuse_an_exact_repeat(scheme: Scheme) -> None:
    gate = signature_gate()
    auth_data = signed(scheme)
    first, second = gate.check(auth_data, NOW_S), gate.check(auth_data, NOW_S)
    gate.spend(first, NOW_S)
    with pytest.raises(TicketOvertaken):
        gate.check(auth_data, NOW_S)
    with pytest.raises(TicketOvertaken):
        gate.spend(second, NOW_S)
    gate.give_back(first)  # a 429 after all
    gate.spend(gate.check(auth_data, NOW_S), NOW_S)


@pytest.mark.parametrize("scheme", [1, 3])
def test_schemes_1_and_3_refuse_a_reqnum_far_behind(scheme: Scheme) -> None:
    gate = signature_gate()
    gate.spend(gate.check(signed(scheme, reqnum=500), NOW_S), NOW_S)
    gate.spend(gate.check(signed(scheme, reqnum=400), NOW_S), NOW_S)
    with pytest.raises(TicketOvertaken):
        gate.check(signed(scheme, reqnum=399), NOW_S)


def test_a_reqnum_counts_from_admission_on() -> None:
    gate = signature_gate()
    gate.check(signed(3, reqnum=10_000), NOW_S)  # answered 503
    gate.spend(gate.check(signed(3, reqnum=5), NOW_S), NOW_S)


def test_without_the_engines_key_nobody_is_told_that_he_is_wrong() -> None:
    with pytest.raises(NotReady):
        signature_gate(knows_key=False).check(signed(4), NOW_S)


def test_another_workers_url_is_wrong_whatever_the_key() -> None:
    with pytest.raises(AuthenticationFailed):
        signature_gate(knows_key=False).check(signed(4, url="http://10.0.0.2:3000"), NOW_S)


def other_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def test_after_a_change_of_key_the_old_signatures_hold_no_longer() -> None:
    gate = signature_gate()
    old = signed(4)
    gate.check(old, NOW_S)
    changed = other_key()
    gate.trust(changed.public_key())
    with pytest.raises(AuthenticationFailed):
        gate.check(old, NOW_S)
    gate.check(signed(4, changed), NOW_S)


class CountingKey:
    """The engine's public key, and how often it was used."""

    def __init__(self) -> None:
        self.verified = 0
        self._key = rsa_key().public_key()

    def verify(self, *args: Any) -> None:
        self.verified += 1
        self._key.verify(*args)


def counting_gate() -> tuple[Gate, CountingKey]:
    gate, key = signature_gate(knows_key=False), CountingKey()
    gate.public_key = key  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    return gate, key


@pytest.mark.parametrize(("scheme", "first"), [(4, 1), (3, 2), (1, 3)])
def test_what_has_held_before_is_looked_up(scheme: Scheme, first: int) -> None:
    gate, key = counting_gate()
    auth_data = signed(scheme)
    gate.check(auth_data, NOW_S)
    assert key.verified == first
    gate.check(auth_data, NOW_S)
    assert key.verified <= 2 * first - 1  # the scheme that holds is not verified again


def test_what_has_not_held_is_not_remembered() -> None:
    gate, key = counting_gate()
    bad = replace(signed(4), signature=base64.b64encode(b"x" * 256).decode())
    for checked in (1, 2):
        with pytest.raises(AuthenticationFailed):
            gate.check(bad, NOW_S)
        assert key.verified == 3 * checked


def test_the_memory_of_what_has_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "_VERIFIED_REMEMBERED", 2)
    gate, key = counting_gate()
    first, second, third = (signed(3, reqnum=reqnum) for reqnum in (1, 2, 3))
    for auth_data in (first, second, third):
        gate.check(auth_data, NOW_S)
    before = key.verified
    gate.check(third, NOW_S)
    assert key.verified == before + 1  # as scheme 4, which it is not; as scheme 3 it is known
    gate.check(first, NOW_S)
    assert key.verified == before + 3  # forgotten
