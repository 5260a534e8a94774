"""What can be asked of an endpoint, and of a session, in the same words."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Unpack

from pyworker.client.answer import Answer
from pyworker.client.attempts import Answered
from pyworker.client.calling import begun, whole
from pyworker.client.events import Event
from pyworker.client.outgoing import Options, Outgoing, outgoing
from pyworker.client.pursuit import Pursuit
from pyworker.client.result import Result, Timings

__all__ = ["Requests"]


class Requests(ABC):
    """Sends requests to workers. ``payload`` goes in an envelope; ``options`` are those of ``Options``.

    Each call raises BadRequest, EngineUnreachable, EngineRefused, WorkerUnreachable, or NoAnswerInTime.
    """

    @abstractmethod
    def _pursuit(self, timeout_s: float | None) -> Pursuit:
        """A new call's deadline and obstacles."""

    @abstractmethod
    async def _first(self, pursuit: Pursuit, out: Outgoing, cost: float) -> Answered:
        """The head of an answer."""

    async def request(self, route: str, payload: Mapping[str, Any] | None = None, **options: Unpack[Options]) -> Result:
        """Send a request and read the whole answer, whatever its status."""
        out, pursuit = outgoing(route, payload, options), self._pursuit(options.get("timeout_s"))
        answer, body, first_byte_s, _ = await whole(pursuit, self._first(pursuit, out, options.get("cost", 100.0)))
        began_s = pursuit.began_s
        timings = Timings(pursuit.found_s - began_s, first_byte_s - began_s, time.monotonic() - began_s)
        return Result(answer.status, answer.headers, body, answer.worker_url, answer.request_idx, timings)

    @asynccontextmanager
    async def open(
        self, route: str, payload: Mapping[str, Any] | None = None, **options: Unpack[Options]
    ) -> AsyncGenerator[Answer, None]:
        """An answer whose body is still on its way; leaving the block before its end stops the work."""
        out, pursuit = outgoing(route, payload, options), self._pursuit(options.get("timeout_s"))
        async with begun(pursuit, self._first(pursuit, out, options.get("cost", 100.0))) as answer:
            yield answer

    async def stream(
        self, route: str, payload: Mapping[str, Any] | None = None, **options: Unpack[Options]
    ) -> AsyncGenerator[Event]:
        """The events of an answer, each as soon as it is complete. Raises AnsweredWithError unless it is 2xx, too."""
        async with self.open(route, payload, **options) as answer:
            await answer.require_ok()
            async for event in answer.events():
                yield event

    async def stream_bytes(
        self, route: str, payload: Mapping[str, Any] | None = None, **options: Unpack[Options]
    ) -> AsyncGenerator[bytes]:
        """The body of an answer as it comes. Raises AnsweredWithError unless it is 2xx, too."""
        async with self.open(route, payload, **options) as answer:
            await answer.require_ok()
            async for piece in answer.chunks():
                yield piece
