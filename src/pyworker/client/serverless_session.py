"""Answers as scripts for the SDK take them, and its sessions, over ours."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, Self

from pyworker.client.answer import Answer
from pyworker.client.session import Session

__all__ = ["ServerlessSession", "told"]


class ServerlessSession:
    """An open session: its ``session_id``, and its worker's ``url``."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.session_id = session.id
        self.url = session.worker_url

    async def request(
        self,
        route: str,
        payload: Mapping[str, Any],
        *,
        cost: float = 100,  # noqa: ARG002 - the session's was claimed when it was opened
        stream: bool = False,
        retry: bool = True,  # noqa: ARG002 - there is one worker
    ) -> dict[str, Any]:
        """Send a request to the session's worker, as ``ServerlessEndpoint.request``. Raises SessionGone, too."""
        return await told(self._session.open(route, payload), stream=stream)

    async def is_open(self) -> bool:
        """Whether the worker still has it. Raises WorkerUnreachable, NoAnswerInTime."""
        return await self._session.is_open()

    async def close(self) -> None:
        """End it."""
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def told(answering: AbstractAsyncContextManager[Answer], *, stream: bool) -> dict[str, Any]:
    """An answer as ``ServerlessEndpoint.request`` gives it; a stream's is open until its events end."""
    begun_s = time.monotonic()
    async with AsyncExitStack() as opened:
        answer = await opened.enter_async_context(answering)
        found = {
            "ok": answer.ok,
            "status": answer.status,
            "content_type": answer.headers.get("Content-Type", "").partition(";")[0] or None,
            "latency": time.monotonic() - begun_s,
            "url": answer.worker_url,
            "request_idx": answer.request_idx,
        }
        if stream and answer.ok:
            return {"response": _events(answer, opened.pop_all()), "text": "", **found}
        body = await answer.read()
    return {"response": _read(body), "text": _text(body) or "", **found}


async def _events(answer: Answer, opened: AsyncExitStack) -> AsyncGenerator[Any]:
    """Lines of JSON, as they are or as the data of server-sent events; other lines are left out."""
    async with opened:
        async for line in answer.lines():
            data = line.removeprefix(b"data:").strip()
            if data == b"[DONE]":
                return
            try:
                event = json.loads(data)
            except ValueError:
                continue
            yield event


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        text = _text(body)
        return body if text is None else text


def _text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None
