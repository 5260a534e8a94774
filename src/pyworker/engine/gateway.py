"""The gateway inside of an engine: it asks the engine's own parts, without a socket in between."""

from __future__ import annotations

import ssl

from pyworker.engine.calls.clients import find_worker
from pyworker.engine.engine import Engine
from pyworker.engine.scaler import Scaler
from pyworker.net import tls_for_workers
from pyworker.wire import RouteAnswer, RouteRequest, WaitingAnswer

__all__ = ["EngineRouter"]


class EngineRouter:
    """A ``gateway.router.Router``."""

    def __init__(self, engine: Engine, scaler: Scaler) -> None:
        self._engine = engine
        self._scaler = scaler
        self._tls: ssl.SSLContext | None = None

    def require_key(self, api_key: str | None, endpoint: str) -> None:
        """Raises WrongKey, BadRequest."""
        self._engine.keys.endpoint_of(api_key, endpoint, self._engine.registry)

    async def ask(self, query: RouteRequest) -> RouteAnswer | WaitingAnswer:
        """As over HTTP. Raises WrongKey, BadRequest."""
        return await find_worker(self._engine, self._scaler, query)

    async def worker_tls(self) -> ssl.SSLContext:
        """Trusts the engine's own root."""
        if self._tls is None:
            self._tls = tls_for_workers(self._engine.authority.root_pem)
        return self._tls
