"""Signatures as deployed workers check them, and tickets: no claim can be changed, no bit flipped."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pyworker.errors import AuthenticationFailed
from pyworker.testing import FakeEngine
from pyworker.tickets import (
    NONCE_BYTES,
    SCHEMES,
    Scheme,
    TicketKey,
    issue_ticket,
    load_public_key,
    public_key_pem,
    read_ticket,
    rsa_message,
    sign_rsa,
    verify_rsa,
)
from pyworker.wire import AuthData, parse_auth_data

CLAIMS = AuthData(cost=242, endpoint="my-endpoint", reqnum=7, url="http://10.0.0.1:4000", signature="", request_idx=12)
KEY = TicketKey("key-1", b"a secret of thirty-two bytes ...")
KEYS = {KEY.id: KEY}
NONCE = bytes(range(NONCE_BYTES))
NOW_S = 1_700_000_000.25

SCHEME_1 = """{
    "cost": 242,
    "endpoint": "my-endpoint",
    "reqnum": 7,
    "url": "http://10.0.0.1:4000"
}"""
SCHEME_3 = """{
    "cost": 242,
    "endpoint": "my-endpoint",
    "reqnum": 7,
    "request_idx": 12,
    "url": "http://10.0.0.1:4000"
}"""
SCHEME_4 = """{
    "url": "http://10.0.0.1:4000"
}"""


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return FakeEngine().key


def ticket(claims: AuthData = CLAIMS, key: TicketKey = KEY) -> str:
    return issue_ticket(key, claims, now_s=NOW_S, nonce=NONCE)


def changed(**fields: Any) -> AuthData:
    return dataclasses.replace(CLAIMS, **fields)


# --- RSA ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "message"), [(1, SCHEME_1), (3, SCHEME_3), (4, SCHEME_4)])
def test_the_signed_message_is_the_one_that_deployed_workers_check(scheme: Scheme, message: str) -> None:
    assert rsa_message(scheme, CLAIMS) == message.encode()


@pytest.mark.parametrize(
    ("cost", "signed"), [(242, "242"), (242.0, "242.0"), (0.1, "0.1"), (1e22, "1e+22"), (10**20, "1" + "0" * 20)]
)
def test_the_cost_is_signed_as_it_was_received(cost: float, signed: str) -> None:
    assert f'"cost": {signed},\n'.encode() in rsa_message(1, changed(cost=cost))


def test_the_cost_of_a_request_keeps_its_type_on_the_way_to_the_signature() -> None:
    for cost in (242, 242.0):
        message = {"cost": cost, "endpoint": "e", "reqnum": 1, "url": "u", "signature": "s"}
        assert f'"cost": {cost!r},'.encode() in rsa_message(1, parse_auth_data(message))


def test_text_that_is_not_ascii_is_signed_in_escapes() -> None:
    assert b'"endpoint": "caf\\u00e9 \\ud83d\\ude00"' in rsa_message(1, changed(endpoint="café 😀"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_signature_holds_for_its_message_and_no_other(rsa_key: rsa.RSAPrivateKey, scheme: Scheme) -> None:
    signature = sign_rsa(rsa_key, rsa_message(scheme, CLAIMS))
    public = load_public_key(public_key_pem(rsa_key))
    assert verify_rsa(public, signature, rsa_message(scheme, CLAIMS))
    assert not verify_rsa(public, signature, rsa_message(scheme, changed(url="http://10.0.0.2:4000")))


@pytest.mark.parametrize("signature", ["", "AAAA", "not base64!", "é", "=", "A" * 344, "\ud800"])
def test_what_is_no_signature_does_not_hold(rsa_key: rsa.RSAPrivateKey, signature: str) -> None:
    assert not verify_rsa(rsa_key.public_key(), signature, b"message")


def test_a_public_key_must_be_rsa_and_long_enough() -> None:
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - weak on purpose
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for pem in (public_key_pem(small), curve.public_bytes(*form), b"<html>502 Bad Gateway</html>", b""):
        with pytest.raises(ValueError):  # noqa: PT011 - the library's own messages differ
            load_public_key(pem)


# --- tickets --------------------------------------------------------------------------------------


def test_a_ticket_says_when_it_was_issued_until_when_it_is_good_and_its_nonce() -> None:
    read = read_ticket(ticket(), CLAIMS, KEYS)
    assert (read.issued_s, read.expires_s, read.nonce) == (NOW_S, NOW_S + 60.0, NONCE)


def test_a_ticket_looks_like_this() -> None:
    """So that a change of the format is a decision and not an accident."""
    raw = base64.urlsafe_b64decode(ticket() + "==")
    assert raw[:39].hex() == "010000018bcfe568fa0000018bcfe6535a" + NONCE.hex() + "05" + b"key-1".hex()
    assert len(raw) == 39 + 32


@pytest.mark.parametrize(
    "change",
    [
        {"cost": 242.5},
        {"cost": 0},
        {"cost": -242},
        {"cost": float("inf")},
        {"cost": 10**400},
        {"endpoint": "my-endpoin"},
        {"endpoint": "MY-ENDPOINT"},
        {"endpoint": ""},
        {"url": "http://10.0.0.1:4001"},
        {"url": "http://10.0.0.1:4000/"},
        {"reqnum": 8},
        {"reqnum": -7},
        {"reqnum": 2**64 + 7},
        {"request_idx": 0},
        {"request_idx": 2**70},
        {"endpoint": "\ud800"},
        {"url": CLAIMS.url + CLAIMS.endpoint, "endpoint": ""},
        {"url": CLAIMS.endpoint, "endpoint": CLAIMS.url},
    ],
    ids=str,
)
def test_no_claim_can_be_changed(change: dict[str, Any]) -> None:
    with pytest.raises(AuthenticationFailed):
        read_ticket(ticket(), changed(**change), KEYS)


def test_no_bit_can_be_flipped() -> None:
    raw = base64.urlsafe_b64decode(ticket() + "==")
    for bit in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(AuthenticationFailed):
            read_ticket(base64.urlsafe_b64encode(bytes(flipped)).decode().rstrip("="), CLAIMS, KEYS)


def test_it_cannot_be_cut_short_or_continued() -> None:
    whole = ticket()
    for text in (*(whole[:length] for length in range(len(whole))), whole + "A", whole + "AAAA", whole + "=="):
        with pytest.raises(AuthenticationFailed):
            read_ticket(text, CLAIMS, KEYS)


def test_it_has_one_spelling() -> None:
    whole = next(text for number in range(100) if "-" in (text := ticket(changed(reqnum=number))))
    claims = next(claims for number in range(100) if ticket(claims := changed(reqnum=number)) == whole)
    assert read_ticket(whole, claims, KEYS)
    last = whole[:-1] + chr(ord(whole[-1]) + 1)  # the last character has bits that nothing is decoded from
    for text in (whole.replace("-", "+"), last, f" {whole}", f"{whole}\n"):
        with pytest.raises(AuthenticationFailed):
            read_ticket(text, claims, KEYS)


@pytest.mark.parametrize("text", ["", "=", "====", "é", "\ud800", "\0", "AAAA", "A" * 1000, "!" * 100])
def test_what_is_no_ticket_is_refused(text: str) -> None:
    with pytest.raises(AuthenticationFailed):
        read_ticket(text, CLAIMS, KEYS)


def test_a_key_id_that_is_not_known_is_refused() -> None:
    with pytest.raises(AuthenticationFailed):
        read_ticket(ticket(key=TicketKey("key-2", KEY.secret)), CLAIMS, KEYS)


def test_a_known_key_id_with_another_secret_is_refused() -> None:
    with pytest.raises(AuthenticationFailed):
        read_ticket(ticket(key=TicketKey("key-1", b"another secret")), CLAIMS, KEYS)


def test_two_keys_are_good_while_one_takes_over_from_the_other() -> None:
    new = TicketKey("kéy-2", b"the next secret")
    both = {KEY.id: KEY, new.id: new}
    assert read_ticket(ticket(), CLAIMS, both)
    assert read_ticket(ticket(key=new), CLAIMS, both)


def test_a_signature_among_the_claims_is_not_looked_at() -> None:
    assert ticket(changed(signature="x")) == ticket()


def test_a_nonce_has_its_length() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        issue_ticket(KEY, CLAIMS, now_s=NOW_S, nonce=b"short")


def test_a_key_does_not_show_its_secret() -> None:
    assert "secret" not in f"{KEY} {KEY!r} {[KEY]}"
