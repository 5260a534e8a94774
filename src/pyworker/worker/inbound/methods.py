"""Methods of requests: those that the quick parsers know, and those that come without a body."""

from __future__ import annotations

import functools

import httptools

__all__ = ["is_bodiless", "is_common"]

_BODILESS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


def is_bodiless(method: str, *, has_body: bool) -> bool:
    """Whether a request is no envelope by its method, or, where that says nothing, by having no body."""
    return method in _BODILESS or not (has_body or method in _WITH_BODY)


@functools.cache
def is_common(method: str) -> bool:
    """Whether llhttp, which reads for the fast lane and for aiohttp, takes it; "*" is any that it takes."""
    if method == "*":
        return True
    try:
        httptools.HttpRequestParser(object()).feed_data(f"{method} / HTTP/1.1\r\n\r\n".encode())
    except httptools.HttpParserUpgrade:  # CONNECT
        return True
    except httptools.HttpParserError:
        return False
    return True
