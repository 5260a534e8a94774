"""A worker's answer."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import aiohttp

from pyworker.client.events import DONE, Event, EventReader, LineReader
from pyworker.errors import AnsweredWithError, WorkerUnreachable

__all__ = ["Answer"]


class Answer:
    """Status and headers; the body may still be on its way and is read once, whole or as it comes."""

    def __init__(self, response: aiohttp.ClientResponse, worker_url: str, request_idx: int = 0) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.worker_url = worker_url
        self.request_idx = request_idx
        self._response = response

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The body as it comes. Raises WorkerUnreachable when it breaks off."""
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError, RuntimeError) as error:  # the last: the client was closed meanwhile
            raise self._broke_off(error) from None

    async def lines(self) -> AsyncIterator[bytes]:
        """The body line by line, without line ends and empty lines, each as soon as it is complete."""
        rest = b""
        async for chunk in self.chunks():
            *complete, rest = (rest + chunk).split(b"\n")
            for line in complete:
                if line.strip():
                    yield line.strip()
        if rest.strip():
            yield rest.strip()

    async def events(self) -> AsyncGenerator[Event]:
        """Server-sent events as they come, up to ``[DONE]``; of any other body each line is one's data.

        Raises WorkerUnreachable when it breaks off.
        """
        is_sse = self.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/event-stream"
        reader = EventReader() if is_sse else LineReader()
        async with contextlib.aclosing(self.chunks()) as chunks:
            async for chunk in chunks:
                for event in reader.feed(chunk):
                    if event.data == DONE:
                        return
                    yield event
        for event in reader.feed(b"", last=True):
            if event.data != DONE:
                yield event

    async def read(self) -> bytes:
        """The whole body. Raises WorkerUnreachable when it breaks off."""
        try:
            return await self._response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise self._broke_off(error) from None

    async def require_ok(self) -> None:
        """Raise AnsweredWithError, with the worker's words, unless the status is 2xx."""
        if not self.ok:
            words = (await self.read()).decode(errors="replace")
            raise AnsweredWithError(f"{self._response.url.path} answers {self.status}: {words}")

    async def json(self) -> Any:
        """The body as JSON. Raises ValueError when it is none."""
        return json.loads(await self.read())

    def _broke_off(self, error: Exception) -> WorkerUnreachable:
        return WorkerUnreachable(f"the worker at {self.worker_url} broke off its answer: {error}")
