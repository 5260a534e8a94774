"""Which headers go through, in each direction."""

from __future__ import annotations

import pytest

from pyworker.headers import (
    answer_headers,
    authored_request_headers,
    query_without_key,
    raw_answer_headers,
    request_headers,
    rewritten_request_headers,
    websocket_headers,
)

Raw = tuple[bytes, bytes]

HARMLESS: list[Raw] = [
    (b"Accept", b"text/event-stream"),
    (b"User-Agent", b"curl/8"),
    (b"X-Request-Id", b"7"),
    (b"X-Mine", b"gr\xc3\xbc\xc3\x9fe"),
    (b"Accept-Encoding", b"gzip"),
]
OF_THE_BODY: list[Raw] = [
    (b"Content-Type", b"application/json"),
    (b"Content-Length", b"7"),
    (b"Content-Encoding", b"gzip"),
]
SECRET: list[Raw] = [
    (b"Authorization", b"Bearer k"),
    (b"Cookie", b"a=b"),
    (b"X-Auth-Data", b"e30"),
    (b"x-auth-data", b"e30"),
]
HOP_BY_HOP: list[Raw] = [
    (b"Connection", b"keep-alive"),
    (b"Keep-Alive", b"timeout=5"),
    (b"Proxy-Authorization", b"Basic x"),
    (b"Proxy-Authenticate", b"Basic"),
    (b"Proxy-Connection", b"keep-alive"),
    (b"TE", b"trailers"),
    (b"Trailer", b"X-T"),
    (b"Transfer-Encoding", b"chunked"),
    (b"UPGRADE", b"websocket"),
]


def test_a_request_loses_its_secrets_and_what_is_hop_by_hop() -> None:
    raw = [*SECRET, *HARMLESS, (b"Host", b"w"), (b"Expect", b"100-continue"), *OF_THE_BODY, *HOP_BY_HOP]
    assert request_headers(raw) == [*HARMLESS, *OF_THE_BODY]


def test_a_payload_that_is_encoded_anew_loses_what_described_the_old_one() -> None:
    assert rewritten_request_headers([*HARMLESS, *OF_THE_BODY, *SECRET]) == HARMLESS


def test_for_an_author_the_answer_is_decoded_here() -> None:
    assert authored_request_headers([*HARMLESS, *OF_THE_BODY, *HOP_BY_HOP]) == HARMLESS[:-1]


def test_an_answer_loses_what_is_hop_by_hop_and_nothing_else() -> None:
    kept = [*OF_THE_BODY, (b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"), (b"Server", b"llama")]
    assert raw_answer_headers([*HOP_BY_HOP, *kept]) == kept


def test_an_answers_headers_may_repeat() -> None:
    headers = answer_headers([(b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"), (b"X-A", b"\xff")])
    assert headers.getall("set-cookie") == ["a=1", "b=2"]
    assert headers["X-A"] == "\udcff"


@pytest.mark.parametrize(
    "connection",
    [
        [(b"Connection", b"x-trace, close")],
        [(b"connection", b"close,  X-TRACE")],
        [(b"Connection", b"close"), (b"Connection", b"X-Trace")],
        [(b"Connection", b"X-Other"), (b"Connection", b"X-Trace")],
    ],
)
def test_what_a_connection_header_names_is_hop_by_hop_too(connection: list[Raw]) -> None:
    raw = [*connection, (b"X-Trace", b"1"), (b"X-Kept", b"2")]
    assert request_headers(raw) == [(b"X-Kept", b"2")]
    assert raw_answer_headers(raw) == [(b"X-Kept", b"2")]


@pytest.mark.parametrize("name", [b"AUTHORIZATION", b"authorization", b"AuThOrIzAtIoN"])
def test_a_name_is_known_in_any_spelling(name: bytes) -> None:
    assert request_headers([(name, b"secret")]) == []


def test_many_spellings_do_not_fill_the_memory_nor_get_through() -> None:
    for number in range(3000):
        name = bytes(c - 32 if number >> i & 1 else c for i, c in enumerate(b"authorization"))
        assert request_headers([(name, b"secret"), (b"X-%d" % number, b"")]) == [(b"X-%d" % number, b"")]


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("", ""),
        ("a=1&b=2", "a=1&b=2"),
        ("api_key=secret", ""),
        ("a=1&api_key=secret&b=2", "a=1&b=2"),
        ("api_key=x&api_key=y&a=%20", "a=%20"),
        ("my_api_key=1&a=api_key", "my_api_key=1&a=api_key"),
        ("api_key", ""),
        ("%61pi_key=secret&a=1", "a=1"),
        ("api%5Fkey=secret", ""),
    ],
)
def test_a_query_loses_the_endpoints_key(query: str, kept: str) -> None:
    assert query_without_key(query) == kept


def test_a_handshakes_own_headers_and_what_is_no_text_do_not_go_with_the_next_one() -> None:
    names = (b"Sec-WebSocket-Key", b"sec-websocket-protocol", b"Sec-WebSocket-Extensions", b"Upgrade", b"Cookie")
    raw = [*((name, b"x") for name in names), (b"Origin", b"http://a"), (b"X-Name", b"\xff\xc3\xa4")]
    assert websocket_headers(raw) == [("Origin", "http://a"), ("X-Name", "\ufffd\u00e4")]
