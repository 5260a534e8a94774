"""What an engine tells of itself, and a worker: read for the demo."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Final

import aiohttp
import msgspec

from pyworker.wire import EndpointInfo, WorkerInfo

__all__ = ["EndpointState", "LogLine", "View"]

PATIENCE: Final = aiohttp.ClientTimeout(total=10.0)


class EndpointState(msgspec.Struct):
    """One endpoint in ``/state``."""

    endpoint: EndpointInfo
    workers: list[WorkerInfo]


class _State(msgspec.Struct):
    endpoints: list[EndpointState]


class LogLine(msgspec.Struct):
    """A line of an endpoint's log, in ``/events``. ``at``: epoch s."""

    level: str
    text: str
    at: float


class View:
    """Looks at the engine at ``url``, whose only endpoint is the demo's; to be used with ``async with``."""

    def __init__(self, url: str, api_key: str) -> None:
        self._url = url
        self._key = {"Authorization": f"Bearer {api_key}"}

    async def __aenter__(self) -> View:
        self._http = aiohttp.ClientSession(timeout=PATIENCE)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def endpoint(self) -> EndpointState:
        """The endpoint and its workers."""
        async with self._http.get(f"{self._url}/state", headers=self._key, raise_for_status=True) as response:
            return msgspec.json.decode(await response.read(), type=_State).endpoints[0]

    async def log(self) -> AsyncIterator[LogLine]:
        """What is done from now on, and why, until the engine ends."""
        timeout = aiohttp.ClientTimeout(total=None)
        with contextlib.suppress(aiohttp.ClientError):
            async with self._http.get(f"{self._url}/events", headers=self._key, timeout=timeout) as response:
                event = ""
                async for line in response.content:
                    name, _, value = line.decode().strip().partition(": ")
                    event = value if name == "event" else event
                    if name == "data" and event == "log":
                        said = msgspec.json.decode(value, type=LogLine)
                        if said.level == "info0":
                            yield said

    async def ready_page(self, worker_url: str) -> dict[str, Any]:
        """What a worker says of its readiness; empty when it says nothing yet."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self._http.get(f"{worker_url}/pyworker/ready") as response:
                page: dict[str, Any] = await response.json()
                return page
        return {}
