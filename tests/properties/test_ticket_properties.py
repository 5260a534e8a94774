"""A ticket holds for the claims it was issued for, and for nothing else."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pyworker.errors import AuthenticationFailed
from pyworker.tickets import NONCE_BYTES, SCHEMES, TicketKey, issue_ticket, read_ticket, rsa_message
from pyworker.wire import AuthData, dump, parse_auth_data
from tests.properties.test_wire_properties import AUTH_DATA, TEXT

KEYS = st.builds(TicketKey, st.text(st.characters(exclude_categories=["Cs"]), max_size=40), st.binary(min_size=16))
NONCES = st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES)
TIMES_S = st.floats(0, 1e10)
NUMBERS = st.integers(0, 2**62)
CHANGES = st.one_of(
    st.tuples(st.just("cost"), st.floats(0, 1e300)),
    st.tuples(st.sampled_from(["endpoint", "url"]), TEXT),
    st.tuples(st.sampled_from(["reqnum", "request_idx"]), NUMBERS),
)


@given(claims=AUTH_DATA, key=KEYS, nonce=NONCES, now_s=TIMES_S, life_s=st.floats(0, 1e6))
def test_it_is_read_as_it_was_issued(
    claims: AuthData, key: TicketKey, nonce: bytes, now_s: float, life_s: float
) -> None:
    text = issue_ticket(key, claims, now_s=now_s, nonce=nonce, life_s=life_s)
    assert text.isascii()
    ticket = read_ticket(text, claims, {key.id: key})
    assert ticket.nonce == nonce
    assert ticket.issued_s == pytest.approx(now_s, abs=0.002)
    assert ticket.expires_s - ticket.issued_s == pytest.approx(life_s, abs=0.002)


@given(claims=AUTH_DATA, key=KEYS, nonce=NONCES)
def test_it_holds_after_a_client_has_sent_the_claims_on(claims: AuthData, key: TicketKey, nonce: bytes) -> None:
    text = issue_ticket(key, claims, now_s=0.0, nonce=nonce)
    received = parse_auth_data(json.loads(dump(dataclasses.replace(claims, signature=text))))
    assert read_ticket(received.signature, received, {key.id: key})


@given(claims=AUTH_DATA, key=KEYS, nonce=NONCES, change=CHANGES)
def test_any_changed_claim_is_refused(
    claims: AuthData, key: TicketKey, nonce: bytes, change: tuple[str, object]
) -> None:
    name, value = change
    assume(getattr(claims, name) != value)
    assume(name != "cost" or float(claims.cost) != value)
    text = issue_ticket(key, claims, now_s=0.0, nonce=nonce)
    with pytest.raises(AuthenticationFailed):
        read_ticket(text, dataclasses.replace(claims, **{name: value}), {key.id: key})


@given(claims=AUTH_DATA, key=KEYS, nonce=NONCES, data=st.data())
def test_any_changed_character_is_refused(claims: AuthData, key: TicketKey, nonce: bytes, data: st.DataObject) -> None:
    text = issue_ticket(key, claims, now_s=0.0, nonce=nonce)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters())
    assume(other != text[place])
    with pytest.raises(AuthenticationFailed):
        read_ticket(text[:place] + other + text[place + 1 :], claims, {key.id: key})


@given(text=st.text(), claims=AUTH_DATA, key=KEYS)
def test_any_other_text_is_refused(text: str, claims: AuthData, key: TicketKey) -> None:
    with pytest.raises(AuthenticationFailed):
        read_ticket(text, claims, {key.id: key})


@given(first=AUTH_DATA, second=AUTH_DATA)
def test_different_claims_are_different_messages(first: AuthData, second: AuthData) -> None:
    for scheme in SCHEMES:
        same = rsa_message(scheme, first) == rsa_message(scheme, second)
        covered = ["url"] if scheme == 4 else ["cost", "endpoint", "reqnum", "url"]
        assert same <= all(getattr(first, name) == getattr(second, name) for name in covered)
