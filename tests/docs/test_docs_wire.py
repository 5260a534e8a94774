"""docs/reference/wire.md against the code: fields, statuses, and the bytes of a ticket."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import re
import struct

import msgspec
import pytest

from pyworker import errors, wire, wire_dashboard, wire_management, wire_routes
from pyworker.tickets import TicketKey, issue_ticket, read_ticket
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "reference" / "wire.md").read_text()
MESSAGES = [
    message
    for module in (wire, wire_dashboard, wire_management, wire_routes)
    for name in module.__all__
    if isinstance(message := getattr(module, name), type)
]


def _fields(message: type) -> list[str]:
    if dataclasses.is_dataclass(message):
        return [field.name for field in dataclasses.fields(message)]
    return [field.encode_name for field in msgspec.structs.fields(message)]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_every_field_of_every_message_is_on_the_page(message: type) -> None:
    assert [name for name in _fields(message) if f"`{name}`" not in PAGE and f'"{name}"' not in PAGE] == []


def test_every_status_that_an_error_answers_is_on_the_page() -> None:
    answered = {getattr(errors, name).status for name in errors.__all__ if hasattr(getattr(errors, name), "status")}
    assert [
        status for status in sorted(answered) if not re.search(rf"^\| [\d, ]*{status}[\d, ]* \|", PAGE, re.MULTILINE)
    ] == []


def test_a_ticket_made_by_hand_from_the_page_is_good() -> None:
    key = TicketKey("k1", b"a secret of sixteen bytes or more")
    claims = wire.AuthData(cost=242, endpoint="hello", reqnum=17, url="http://203.0.113.7:40123", signature="")
    head = struct.pack(">BQQ", 1, 1_790_000_000_000, 1_790_000_060_000) + bytes(range(16)) + b"\x02k1"
    url, endpoint = claims.url.encode(), claims.endpoint.encode()
    said = struct.pack(">dQQII", 242.0, 17, 0, len(url), len(endpoint)) + url + endpoint
    raw = head + hmac.new(key.secret, head + said, hashlib.sha256).digest()
    by_hand = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    ticket = read_ticket(by_hand, claims, {"k1": key})

    assert (ticket.issued_s, ticket.expires_s, ticket.nonce) == (1_790_000_000.0, 1_790_000_060.0, bytes(range(16)))
    assert issue_ticket(key, claims, now_s=1_790_000_000.0, nonce=bytes(range(16))) == by_hand
