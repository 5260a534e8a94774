"""Two websockets, the client's and the model server's: what comes from one goes to the other until one of them ends.

A message is taken from one side only when the other has taken the one before: whoever is slow slows the other. Pings
and pongs go through like messages, and both sides get pings of the worker's own, so that no network takes an open
socket on which nothing is said for a dead one.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
from aiohttp import WSCloseCode, WSMsgType, web

__all__ = ["PING_S", "Bridge", "End", "Side", "shut"]

PING_S = 30.0
PING = b"pyworker"  # what our own pings say, so that the answers to them are known
PING_WITHIN_S = 1.0
CLOSE_S = 1.0  # for the other side to answer that we close
LAST_WORDS_S = 0.25  # for what a client that has gone had sent before

Socket = web.WebSocketResponse[bool] | aiohttp.ClientWebSocketResponse[bool]
Pump = asyncio.Task["End | None"]


class Side(enum.Enum):
    """Who is at an end of it."""

    CLIENT = "client"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class End:
    """Who ended it, with which code and reason; ``code`` is None when he broke off without a word."""

    side: Side
    code: int | None
    reason: bytes = b""


class Bridge:
    """Carries messages between two open sockets; ``end`` is set when one of them has ended."""

    def __init__(self, client: Socket, model: Socket, client_gone: Callable[[], bool]) -> None:
        self.end: End | None = None
        self._client = client
        self._model = model
        self._client_gone = client_gone

    async def carry(self) -> End:
        """Until one side ends; neither is closed by that.

        When it is cancelled because the client has gone, what the client sent before is carried yet: it may have said
        goodbye, and then ``end`` is set.
        """
        pumps = [
            asyncio.create_task(_pump(Side.CLIENT, self._client, self._model)),
            asyncio.create_task(_pump(Side.MODEL, self._model, self._client)),
        ]
        try:
            self.end = await self._first_end(pumps)
        except asyncio.CancelledError:
            if self._client_gone():
                self.end = await _last_words(pumps[0])
            raise
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        return self.end

    async def _first_end(self, pumps: list[Pump]) -> End:
        pending = set(pumps)
        while pending:
            done, pending = await asyncio.wait(pending, timeout=PING_S, return_when=asyncio.FIRST_COMPLETED)
            for end in [pump.result() for pump in pumps if pump in done]:
                if end is not None:
                    return end
            if not done:
                await self._keep_alive()
        return End(Side.CLIENT, None)  # each direction says that the other side has gone

    async def _keep_alive(self) -> None:
        for socket in (self._client, self._model):
            with contextlib.suppress(TimeoutError, ConnectionError):  # what takes no ping has others on their way
                async with asyncio.timeout(PING_WITHIN_S):
                    await socket.ping(PING)


async def _pump(side: Side, source: Socket, sink: Socket) -> End | None:
    """Carry messages one way. None when nobody takes them: how the sink ended is said by what comes from it."""
    while True:
        message = await source.receive()
        try:
            match message.type:
                case WSMsgType.TEXT | WSMsgType.BINARY | WSMsgType.PING:
                    await sink.send_frame(message.data, message.type)
                case WSMsgType.PONG:
                    if message.data != PING:
                        await sink.send_frame(message.data, message.type)
                case WSMsgType.CLOSE if message.data != WSCloseCode.ABNORMAL_CLOSURE:
                    return End(side, message.data or WSCloseCode.OK, (message.extra or "").encode())
                case _:
                    return End(side, None)
        except ConnectionError:
            return None


async def _last_words(pump: Pump) -> End | None:
    done, _ = await asyncio.wait([pump], timeout=LAST_WORDS_S)
    is_known = done and not pump.cancelled() and pump.exception() is None  # nothing may take a cancellation's place
    return pump.result() if is_known else None


async def shut(socket: Socket, code: int, reason: bytes = b"") -> bool:
    """Close it, in CLOSE_S at most. False when the other side took nothing in that time."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await socket.close(code=code, message=reason)
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True
