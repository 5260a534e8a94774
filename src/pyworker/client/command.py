"""What ``pyworker call`` does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO

from pyworker.client.client import Client
from pyworker.client.outgoing import Options
from pyworker.client.waiting import Waiting

__all__ = ["call"]


def call(
    client: Client,
    waiting: Waiting,
    endpoint: str,
    route: str,
    payload: Mapping[str, Any] | None,
    options: Options,
    *,
    stream: bool,
) -> int:
    """Call an endpoint once and print the answer; an error goes to stderr. Returns the exit status: 0 for 2xx."""
    return asyncio.run(_call(client, waiting, endpoint, route, payload, options, stream))


async def _call(
    client: Client,
    waiting: Waiting,
    name: str,
    route: str,
    payload: Mapping[str, Any] | None,
    options: Options,
    stream: bool,
) -> int:
    async with contextlib.AsyncExitStack() as opened:
        await opened.enter_async_context(client)
        async with waiting.shown():
            endpoint = await client.endpoint(name)
            answer = await opened.enter_async_context(endpoint.open(route, payload, **options))
        out = sys.stdout.buffer if answer.ok else sys.stderr.buffer
        if not answer.ok:
            _write(out, f"the worker at {answer.worker_url} answers {answer.status}:\n".encode())
        if stream and answer.ok:
            async for chunk in answer.chunks():
                _write(out, chunk)
        else:
            _write(out, _readable(await answer.read()))
        return 0 if answer.ok else 1


def _readable(body: bytes) -> bytes:
    """JSON indented, anything else as it is."""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False).encode() + b"\n"
    except (ValueError, RecursionError):
        return body


def _write(out: BinaryIO, data: bytes) -> None:
    out.write(data)
    out.flush()
