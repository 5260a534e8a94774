"""What a fake does with a request.

A behaviour is any ``async def f(request: FakeRequest) -> None``; these are the usual ones. An answer that was begun
and not ended when the behaviour returns is ended as it should end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import WSMsgType

from pyworker.testing.request import Behaviour, FakeRequest

__all__ = ["after", "answer", "by_hand", "drop", "drop_if_reused", "echo", "echo_messages", "stream"]


def answer(
    body: Any = b"", *, status: int = 200, headers: Mapping[str, str] | None = None, gzip: bool = False
) -> Behaviour:
    """Answer with this body: bytes and str as they are, anything else as JSON."""

    async def behave(request: FakeRequest) -> None:
        await request.answer(body, status=status, headers=headers, gzip=gzip)

    return behave


def stream(chunks: Iterable[bytes | str], *, status: int = 200, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Stream these chunks (``text/event-stream`` unless headers say otherwise), then end."""
    kept = list(chunks)

    async def behave(request: FakeRequest) -> None:
        await request.start(status=status, headers=headers)
        for chunk in kept:
            await request.send(chunk)

    return behave


def drop(chunks: Iterable[bytes | str] = (), *, reset: bool = False) -> Behaviour:
    """Close the connection: before any byte of the answer, or after these chunks of it."""
    kept = list(chunks)

    async def behave(request: FakeRequest) -> None:
        for chunk in kept:
            await request.send(chunk)
        request.drop(reset=reset)

    return behave


def drop_if_reused(otherwise: Behaviour) -> Behaviour:
    """Close a connection that had a request before, as a server whose keep-alive time is over."""

    async def behave(request: FakeRequest) -> None:
        if request.nth > 1:
            request.drop()
        else:
            await otherwise(request)

    return behave


def after(event: asyncio.Event, then: Behaviour) -> Behaviour:
    """Do nothing before ``event`` is set."""

    async def behave(request: FakeRequest) -> None:
        await event.wait()
        await then(request)

    return behave


async def by_hand(request: FakeRequest) -> None:
    """Leave the answer to the test: it calls ``request.answer``, or ``send`` and ``end``, or ``drop``, or nothing."""
    await request.ended.wait()


async def echo(request: FakeRequest) -> None:
    """Answer with the body and the content type that were sent."""
    await request.answer(request.body, headers={"Content-Type": request.headers.get("Content-Type", "text/plain")})


async def echo_messages(request: FakeRequest) -> None:
    """Open a websocket and send every message back until the client closes it."""
    socket = await request.websocket()
    async for message in socket:
        if message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
            data = message.data.encode() if isinstance(message.data, str) else message.data
            await socket.send_frame(data, message.type)
