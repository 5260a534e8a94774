"""Which headers go through a proxy, in each direction (the wire, section 2; RFC 9110 section 7.6.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import unquote_plus

from multidict import CIMultiDict

__all__ = ["REWRITTEN", "answer_headers", "query_without_key", "raw_answer_headers", "request_headers"]

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
REWRITTEN = frozenset({b"content-length", b"content-encoding", b"content-type"})

Raw = tuple[bytes, bytes]


def request_headers(raw: Iterable[Raw], *, without: frozenset[bytes] = frozenset()) -> list[Raw]:
    """The client's headers that the model server gets: no secret, nothing hop-by-hop.

    ``without`` are those that do not fit the body any more (REWRITTEN, when the payload is encoded anew).
    """
    headers = [
        (name, value) for name, value in raw if (low := name.lower()) not in _NEVER_SENT_ON and low not in without
    ]
    return _without_named(raw, headers)


def raw_answer_headers(raw: Sequence[Raw]) -> list[Raw]:
    """The model server's headers that the client gets."""
    return _without_named(raw, [(name, value) for name, value in raw if name.lower() not in _HOP_BY_HOP])


def answer_headers(raw: Sequence[Raw]) -> CIMultiDict[str]:
    """The same, as aiohttp has them."""
    return CIMultiDict((_text(name), _text(value)) for name, value in raw_answer_headers(raw))


def _without_named(raw: Iterable[Raw], headers: list[Raw]) -> list[Raw]:
    """Leave out what a ``Connection`` header names as hop-by-hop."""
    for name, value in raw:
        if name.lower() == b"connection":
            named = {part.strip().lower() for part in value.split(b",")} - {b"close", b"keep-alive"}
            if named:
                return [header for header in headers if header[0].lower() not in named]
    return headers


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def query_without_key(query: str) -> str:
    """A raw query string less ``api_key``, however it is written, which is for the engine."""
    if not query:
        return query
    return "&".join(part for part in query.split("&") if unquote_plus(part.partition("=")[0]) != "api_key")
