"""Calls a worker to see whether it is still there."""

from __future__ import annotations

from typing import Final

import aiohttp

from pyworker.engine.core.silence import Probe

__all__ = ["Prober"]

PATIENCE_S: Final = 1.0


class Prober:
    """One HTTP session for all calls; any HTTP answer counts, even a 404 of a worker without ``/pyworker/health``."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_S))

    async def call(self, url: str) -> Probe:
        """Call the worker at ``url``. Its certificate is not checked: nothing is sent and nothing believed."""
        try:
            async with self._session.get(f"{url.rstrip('/')}/pyworker/health", ssl=False, allow_redirects=False):
                return Probe.ANSWERED
        except aiohttp.ClientConnectorError as error:
            return Probe.REFUSED if isinstance(error.os_error, ConnectionRefusedError) else Probe.SILENT
        except (aiohttp.ClientError, TimeoutError):
            return Probe.SILENT

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()
