"""Answers for handlers by subclass: the model server's as it is, and streams that fail after they have begun."""

from __future__ import annotations

from aiohttp import ClientResponse, web

from pyworker.headers import answer_headers

__all__ = ["Stream", "pass_on"]

_OF_THE_BODY = ("Content-Length", "Content-Encoding")  # it is decoded here, and sent in pieces


class Stream(web.StreamResponse):
    """An answer in pieces.

    When the work fails after the answer has begun, its status is on the wire already: ``failed_with`` is the one that
    it would have had, and what the worker's books go by.
    """

    failed_with: int | None = None

    @property
    def status(self) -> int:
        """What the books see."""
        return self.failed_with or super().status


async def pass_on(
    client_request: web.Request, model_response: ClientResponse, *, failure: bytes | None = None
) -> Stream:
    """Status, headers and body, each piece as it comes; for ``generate_client_response``.

    Each write waits while the client takes nothing. What the model breaks off is broken off for the client too.
    ``failure`` are bytes that a stream holds only where the model says in it that it has failed.
    """
    headers = answer_headers(model_response.raw_headers)
    for name in _OF_THE_BODY:
        headers.popall(name, None)
    response = Stream(status=model_response.status, headers=headers)
    await response.prepare(client_request)
    end = b""
    async for piece in model_response.content.iter_any():
        await response.write(piece)
        if failure is not None:
            if failure in end + piece:
                response.failed_with = 500
            end = (end + piece)[1 - len(failure) :]
    await response.write_eof()
    return response
