"""The model server's answer to the client as it comes: status, headers, body piece by piece."""

from __future__ import annotations

from aiohttp import web

from pyworker.worker.headers import answer_headers
from pyworker.worker.upstream import Answer

__all__ = ["cut_off", "relay"]


async def relay(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Pass an answer on. One that is there already goes in one piece; a stream keeps its pieces and its pace.

    Raises ModelFailed when the model server breaks off.
    """
    headers = answer_headers(answer.headers)
    if answer.complete and answer.error is None:
        body = answer.read_nowait()
        if request.method != "HEAD":
            headers.popall("Content-Length", None)  # aiohttp writes it, from the very same bytes
        return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=body)
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    await response.prepare(request)
    while piece := await answer.next_piece():
        await response.write(piece)
    await response.write_eof()
    return response


def cut_off(request: web.Request) -> None:
    """When an answer has begun, end its connection so that the client cannot take it for a whole one."""
    if request.writer.output_size == 0:
        return
    if request.transport is not None:
        request.transport.abort() if request.version < (1, 1) else request.transport.close()
