"""Which headers go through a proxy, in each direction (the wire, section 2; RFC 9110 section 7.6.1)."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote_plus

from multidict import CIMultiDict

__all__ = [
    "answer_headers",
    "authored_request_headers",
    "query_without_key",
    "raw_answer_headers",
    "readable_request_headers",
    "request_headers",
    "rewritten_request_headers",
    "websocket_headers",
]

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_SECRET = frozenset({b"authorization", b"cookie", b"x-auth-data"})
_NEVER_SENT_ON = _HOP_BY_HOP | _SECRET | {b"host", b"expect"}
_REWRITTEN = frozenset({b"content-length", b"content-encoding", b"content-type"})
_HANDSHAKE = frozenset(
    {
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-key",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
    }
)
_SPELLINGS = 1000

Raw = tuple[bytes, bytes]


class _Kept(dict[bytes, bool]):
    """Whether a header goes through, by its name as it is spelt; looked up once for each spelling."""

    def __init__(self, dropped: frozenset[bytes]) -> None:
        super().__init__()
        self._dropped = dropped

    def __missing__(self, name: bytes) -> bool:
        kept = name.lower() not in self._dropped
        if len(self) < _SPELLINGS:
            self[name] = kept
        return kept


_KEPT_OF_REQUEST = _Kept(_NEVER_SENT_ON)
_KEPT_OF_READABLE = _Kept(_NEVER_SENT_ON | {b"accept-encoding"})
_KEPT_OF_REWRITTEN = _Kept(_NEVER_SENT_ON | _REWRITTEN)
_KEPT_OF_AUTHORED = _Kept(_NEVER_SENT_ON | _REWRITTEN | {b"accept-encoding"})
_KEPT_OF_HANDSHAKE = _Kept(_NEVER_SENT_ON | _HANDSHAKE)
_KEPT_OF_ANSWER = _Kept(_HOP_BY_HOP)


def request_headers(raw: Sequence[Raw]) -> list[Raw]:
    """The client's headers that the model server gets: no secret, nothing hop-by-hop."""
    return _filtered(raw, _KEPT_OF_REQUEST)


def readable_request_headers(raw: Sequence[Raw]) -> list[Raw]:
    """The same, less what the client accepts: the answer is read here too."""
    return _filtered(raw, _KEPT_OF_READABLE)


def rewritten_request_headers(raw: Sequence[Raw]) -> list[Raw]:
    """The client's, less those that do not fit a payload that is encoded anew."""
    return _filtered(raw, _KEPT_OF_REWRITTEN)


def authored_request_headers(raw: Sequence[Raw]) -> list[Raw]:
    """The same, less what the client accepts: the answer is decoded here."""
    return _filtered(raw, _KEPT_OF_AUTHORED)


def websocket_headers(raw: Sequence[Raw]) -> list[tuple[str, str]]:
    """The client's headers that go with the handshake to the model server, which is one of our own."""
    kept = _filtered(raw, _KEPT_OF_HANDSHAKE)
    return [(name.decode("latin-1"), value.decode("utf-8", "replace")) for name, value in kept]


def raw_answer_headers(raw: Sequence[Raw]) -> list[Raw]:
    """The model server's headers that the client gets."""
    return _filtered(raw, _KEPT_OF_ANSWER)


def answer_headers(raw: Sequence[Raw]) -> CIMultiDict[str]:
    """The same, as aiohttp has them."""
    return CIMultiDict((_text(name), _text(value)) for name, value in raw_answer_headers(raw))


def _filtered(raw: Sequence[Raw], kept: _Kept) -> list[Raw]:
    """Less what is dropped by its name, and what a ``Connection`` header names as hop-by-hop."""
    headers = [header for header in raw if kept[header[0]]]
    if len(headers) == len(raw):
        return headers
    named = {
        part.strip().lower()
        for name, value in raw
        if len(name) == 10 and name.lower() == b"connection"
        for part in value.split(b",")
    } - {b"close", b"keep-alive"}
    return [header for header in headers if header[0].lower() not in named] if named else headers


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def query_without_key(query: str) -> str:
    """A raw query string less ``api_key``, however it is written, which is for the engine."""
    if not query:
        return query
    return "&".join(part for part in query.split("&") if unquote_plus(part.partition("=")[0]) != "api_key")
