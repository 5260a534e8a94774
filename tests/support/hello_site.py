"""`pyworker up workers/hello_world` with its real model, as a process, and its endpoint scaled to zero."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.leftovers import require_no_processes
from tests.support.source import ROOT
from workers.hello_world.demo.engine import EngineProcess

__all__ = ["API_KEY", "HelloSite", "hello_site"]

API_KEY = "key-of-the-test"
ENDPOINTS = "/api/v0/endptjobs/"


class HelloSite:
    """The engine at ``url``."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self._http = http

    async def scale_to_zero(self) -> None:
        """Until its only worker is stopped, and the endpoint takes requests again.

        By its owner's word, for by itself it would wait for a minute; as long as nobody has asked, nothing starts it.
        """
        await self.until("IDLE")
        await self._set_state("stopped")
        await self.until("STOPPED")
        await self._set_state("active")

    async def until(self, state: str) -> None:
        """Wait until the worker is in this state."""
        while [worker["status"] for worker in await self.workers()] != [state]:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)

    async def workers(self) -> list[dict[str, Any]]:
        """Of the endpoint."""
        endpoint_id = await self._endpoint_id()
        async with self._http.post(f"{self.url}/get_endpoint_workers/", json={"id": endpoint_id}) as response:
            return await response.json()

    async def _endpoint_id(self) -> int:
        async with self._http.get(self.url + ENDPOINTS) as response:
            return (await response.json())["results"][0]["id"]

    async def _set_state(self, state: str) -> None:
        path = f"{self.url}{ENDPOINTS}{await self._endpoint_id()}/"
        async with self._http.put(path, json={"endpoint_state": state}) as response:
            assert response.status == 200, await response.text()


@asynccontextmanager
async def hello_site(folder: Path) -> AsyncGenerator[HelloSite]:
    """While this is entered; afterwards nothing of it runs."""
    engine = EngineProcess(ROOT / "workers" / "hello_world", folder, API_KEY)
    try:
        url = await engine.start()
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {API_KEY}"}) as http:
            yield HelloSite(url, http)
    finally:
        await engine.stop()
    require_no_processes(marked_by=folder)
