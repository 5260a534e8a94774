"""Where a gateway learns which worker a request goes to: from the engine it is part of, or over HTTP."""

from __future__ import annotations

import ssl
from typing import Protocol

from pyworker.wire import RouteAnswer, RouteRequest, WaitingAnswer

__all__ = ["Router"]


class Router(Protocol):
    """An engine, as a gateway sees it."""

    def require_key(self, api_key: str | None, endpoint: str) -> None:
        """Before a body is read: raises WrongKey, BadRequest when it is known already that ``ask`` will."""
        ...

    async def ask(self, query: RouteRequest) -> RouteAnswer | WaitingAnswer:
        """Answer ``/route/``; held for ``query.wait`` s. Raises a PyWorkerError with the status to answer."""
        ...

    async def worker_tls(self) -> ssl.SSLContext:
        """What workers' certificates are checked with."""
        ...
