"""The websocket route: opened to the model server, then messages both ways, as one request in the books."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Any, cast

import aiohttp
from aiohttp import WSCloseCode, web
from multidict import CIMultiDict

from pyworker.errors import BadRequest, BenchmarkFailed, JsonDataException, ModelFailed, ModelUnreachable
from pyworker.handlers import PassThroughHandler
from pyworker.headers import query_without_key, websocket_headers
from pyworker.net import end_when_silent
from pyworker.worker.bridge import CLOSE_S, Bridge, End, Side, shut
from pyworker.worker.core.benchmark import Plan
from pyworker.worker.core.ledger import Lane
from pyworker.worker.inbound.answers import json_response
from pyworker.worker.inbound.incoming import AiohttpIncoming, Incoming
from pyworker.worker.model.upstream import ModelServer
from pyworker.worker.routes import Call, Probe, ReadBody, Route

__all__ = ["OWN_PROTOCOL", "PROOF_PROTOCOL", "WebsocketRoute"]

OWN_PROTOCOL = "pyworker"  # answered to a client that proves itself by subprotocol when the model chooses none
PROOF_PROTOCOL = "pyworker.auth."  # and X-Auth-Data's value behind it

_TIMEOUT = cast("Any", aiohttp.ClientWSTimeout)(ws_close=CLOSE_S)
_GOOD_ENDS = {WSCloseCode.OK, *range(3000, 5000)}  # of a model: done, or its own affair
_NO_HANDSHAKE = "this route is a websocket: open it with the handshake of RFC 6455, version 13"
_BROKE_OFF = "the model server broke off the websocket"


class WebsocketRoute(Route):
    """A websocket, from the handshake to its end. ``max_message_bytes`` holds in both directions."""

    teaches_capacity = False  # how long it is open says nothing of how fast the model is

    def __init__(
        self,
        handler: PassThroughHandler,
        lane: Lane,
        max_wait_s: float | None,
        model: ModelServer,
        session: aiohttp.ClientSession,
        max_message_bytes: int,
    ) -> None:
        super().__init__(handler.endpoint, lane, max_wait_s)
        self._handler = handler
        self._model = model
        self._session = session
        self._max_message_bytes = max_message_bytes

    # --- before it is opened ---

    def proof(self, request: Incoming) -> str | None:
        """From the header, or from the subprotocols: a browser cannot set headers on a websocket."""
        header = super().proof(request)
        if header is not None:
            return header
        proofs = [name for name in _offered(request) if name.startswith(PROOF_PROTOCOL)]
        return proofs[0].removeprefix(PROOF_PROTOCOL) if proofs else None

    def parse_envelope(self, body: bytes | memoryview) -> Call:  # noqa: ARG002
        raise BadRequest(_NO_HANDSHAKE)

    async def read_plain(self, request: Incoming, read: ReadBody) -> Call:  # noqa: ARG002
        """Nothing is read yet. Raises BadRequest when it is no handshake."""
        if not _is_handshake(request):
            raise BadRequest(_NO_HANDSHAKE)
        offered = _offered(request)
        if OWN_PROTOCOL not in offered and any(name.startswith(PROOF_PROTOCOL) for name in offered):
            raise JsonDataException({"Sec-WebSocket-Protocol": f"offer {OWN_PROTOCOL!r} too, which can be answered"})
        return Call(None, None, None)

    def count_workload(self, call: Call) -> float:  # noqa: ARG002
        return self._handler.workload

    # --- it is no benchmark ---

    @property
    def plan(self) -> Plan | None:
        return None

    @property
    def sources(self) -> list[object]:
        return [self._handler]

    async def probe(self) -> Probe:
        raise BenchmarkFailed("a websocket cannot be the benchmark")

    # --- open ---

    async def exchange(self, request: Incoming, call: Call) -> bool:
        assert isinstance(request, AiohttpIncoming)  # the fast lane hands every upgrade over
        try:
            model = await self._open(request, call.target)
        except aiohttp.WSServerHandshakeError as refusal:
            request.response = _refused(refusal)
            return False
        try:
            call.on_head()
            return await self._carry(request, model)
        finally:
            await shut(model, WSCloseCode.GOING_AWAY)  # unless that is done

    async def _open(self, request: Incoming, target: str) -> aiohttp.ClientWebSocketResponse[bool]:
        query = query_without_key(request.query)
        try:
            return await self._session.ws_connect(
                self._model.url(f"{target}?{query}" if query else target),
                headers=CIMultiDict(websocket_headers(request.raw_headers)),
                protocols=[name for name in _offered(request) if not _is_ours(name)],
                timeout=_TIMEOUT,
                autoclose=False,
                autoping=False,
                max_msg_size=self._max_message_bytes,
                decode_text=False,
            )
        except aiohttp.WSServerHandshakeError:
            raise
        except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise ModelUnreachable(f"the model server does not accept connections: {reason}") from None
        except aiohttp.ClientError as error:
            raise ModelFailed(f"the model server did not open the websocket: {type(error).__name__}") from None

    async def _carry(self, request: AiohttpIncoming, model: aiohttp.ClientWebSocketResponse[bool]) -> bool:
        client = _ClientSocket(model.protocol, _offered(request), self._max_message_bytes)
        request.response = client
        await client.prepare(request.request)
        end_when_silent(client.get_extra_info("socket"))
        bridge = Bridge(client, model, lambda: request.client_gone)
        try:
            end = await bridge.carry()
        except asyncio.CancelledError:
            end, task = bridge.end, asyncio.current_task()
            if task is None or not request.client_gone or end is None or end.code is None:
                await shut(model, WSCloseCode.GOING_AWAY)
                await client.go_away(request.client_gone)
                raise
            task.uncancel()  # the client left after it had said goodbye
        return await _settle(end, client, model)


class _ClientSocket(web.WebSocketResponse[bool]):
    """The client's side. It is closed as ``farewell`` says when its handler has returned and the request is settled."""

    def __init__(self, chosen: str | None, offered: list[str], max_message_bytes: int) -> None:
        if chosen is None and OWN_PROTOCOL in offered:
            chosen = OWN_PROTOCOL
        super().__init__(
            timeout=CLOSE_S,
            autoclose=False,
            autoping=False,
            protocols=[chosen] if chosen else (),
            compress=False,
            max_msg_size=max_message_bytes,
            decode_text=False,
        )
        self.farewell: tuple[int, bytes] = (WSCloseCode.OK, b"")

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002 - a websocket has no last bytes
        """Close it. A client that does not even read that is cut off."""
        transport = self._req.transport if self._req is not None else None
        if not await shut(self, *self.farewell) and transport is not None:
            transport.abort()
        await super().write_eof()

    async def go_away(self, client_gone: bool) -> None:
        """The worker stops, or the session has ended."""
        if not client_gone:
            self.farewell = (WSCloseCode.GOING_AWAY, b"the worker ends this")
            await self.write_eof()


async def _settle(end: End, client: _ClientSocket, model: aiohttp.ClientWebSocketResponse[bool]) -> bool:
    """Close the model's side, and say how the client's is to be closed. True when the model has done its work."""
    if end.code is None:
        await shut(model, WSCloseCode.GOING_AWAY)
        if end.side is Side.CLIENT:
            raise ConnectionResetError("the client broke off the websocket")
        client.farewell = (WSCloseCode.INTERNAL_ERROR, _BROKE_OFF.encode())
        await client.write_eof()
        raise ModelFailed(_BROKE_OFF)
    client.farewell = (end.code, end.reason)
    await shut(model, end.code, end.reason)
    return end.side is Side.CLIENT or end.code in _GOOD_ENDS


def _refused(refusal: aiohttp.WSServerHandshakeError) -> web.Response:
    """The model server's own status, which is what passes through. Raises ModelFailed when it is none of refusal."""
    if refusal.status < 400:
        raise ModelFailed(f"the model server answered {refusal.status} where it was to open a websocket")
    response = json_response({"error": f"the model server answered {refusal.status}"}, refusal.status)
    response.force_close()
    return response


def _offered(request: Incoming) -> list[str]:
    """The subprotocols that the client offers."""
    names = (name.strip() for name in (request.header("Sec-WebSocket-Protocol") or "").split(","))
    return [name for name in names if name]


def _is_ours(protocol: str) -> bool:
    return protocol == OWN_PROTOCOL or protocol.startswith(PROOF_PROTOCOL)


def _is_handshake(request: Incoming) -> bool:
    """RFC 6455, section 4.2.1."""
    upgrade, connection, version, key = (
        (request.header(name) or "").strip()
        for name in ("Upgrade", "Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Key")
    )
    options = {option.strip() for option in connection.lower().split(",")}
    try:
        has_key = len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
    wanted = (request.method, upgrade.lower(), version) == ("GET", "websocket", "13")
    return wanted and "upgrade" in options and has_key
