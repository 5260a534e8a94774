"""Whether the model server is well: by its health URL, or, where it has none, by its port."""

from __future__ import annotations

import aiohttp

from pyworker.errors import ModelUnreachable
from pyworker.worker.model.upstream import ModelServer

__all__ = ["Health"]

TIMEOUT_S = 5.0


class Health:
    """``url`` is absolute. Without one a port that accepts connections is well; without ``model`` all is well."""

    def __init__(self, url: str | None, model: ModelServer | None, session: aiohttp.ClientSession) -> None:
        self.has_url = url is not None
        self.what = f"the health URL {url}" if url else "the model server's port"
        self._url = url
        self._model = model
        self._session = session

    async def problem(self) -> str:
        """What is wrong, "" when nothing is."""
        return await self._port_problem() if self._url is None else await self._url_problem(self._url)

    async def _port_problem(self) -> str:
        if self._model is None:
            return ""
        try:
            await self._model.accepts_connections()
        except ModelUnreachable as error:
            return str(error)
        return ""

    async def _url_problem(self, url: str) -> str:
        try:
            async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as answer:
                return "" if 200 <= answer.status < 300 else f"{url} answers {answer.status}"
        except (aiohttp.ClientError, OSError) as error:  # a timeout is an OSError
            return f"{url}: {str(error) or type(error).__name__}"
