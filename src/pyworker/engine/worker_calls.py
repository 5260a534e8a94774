"""What the engine asks of a worker with its mtoken: to drain, and its model's last log lines.

The mtoken goes to the url that it is bound to and nowhere else: over https with a certificate of the engine's own
root, or over plain http where ``core/addresses.py`` allows that; no redirect is followed, no proxy used.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Final

import aiohttp

from pyworker.engine.core.addresses import Network, require_safe_way
from pyworker.errors import WorkerNotReached

__all__ = ["WorkerCalls"]

PATIENCE_S: Final = 3.0
MOST_LOG_BYTES: Final = 1024 * 1024
_OK: Final = range(200, 300)


class WorkerCalls:
    """``root_pem`` is the root of workers' certificates. Calls are rare, so each has a connection of its own."""

    def __init__(self, root_pem: bytes, trusted: Sequence[Network]) -> None:
        self._root = root_pem.decode()
        self._trusted = trusted

    async def drain(self, url: str, mtoken: str) -> None:
        """Have it drain and end, so that its machine starts it anew. Raises BadRequest, WorkerNotReached."""
        await self._call("POST", url, "/pyworker/update", mtoken)

    async def log_lines(self, url: str, mtoken: str) -> list[str]:
        """The last lines of its model's log. Raises BadRequest, WorkerNotReached."""
        body = await self._call("GET", url, "/pyworker/logs", mtoken)
        return body.decode(errors="replace").splitlines()

    async def _call(self, method: str, url: str, path: str, mtoken: str) -> bytes:
        require_safe_way(url, self._trusted)
        context = ssl.create_default_context(cadata=self._root)
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_S)) as session,
                session.request(
                    method,
                    url.rstrip("/") + path,
                    headers={"Authorization": f"Bearer {mtoken}"},
                    ssl=context,
                    allow_redirects=False,
                ) as response,
            ):
                if response.status not in _OK:
                    raise WorkerNotReached(f"the worker at {url} answered {path} with {response.status}: see its log")
                return await _read(response)
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            raise WorkerNotReached(
                f"the worker at {url} has no certificate of this engine ({error}): let it ask for one at its next start"
            ) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or f"no answer within {PATIENCE_S:g} s"
            raise WorkerNotReached(f"the worker at {url} cannot be reached ({reason}): see to it there") from None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body, or its end when there is too much of it."""
    kept = b""
    async for piece in response.content.iter_any():
        kept = (kept + piece)[-MOST_LOG_BYTES:]
    return kept
