"""Starts an engine on a socket, and stops it without cutting anybody off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from pyworker.engine.calls import ENGINE, ROUTES
from pyworker.engine.engine import Engine, EngineConfig
from pyworker.engine.http import errors_as_json
from pyworker.errors import ConfigurationError

__all__ = ["make_app", "running_engine"]

SHUTDOWN_S: Final = 5.0


@asynccontextmanager
async def running_engine(config: EngineConfig, key: rsa.RSAPrivateKey | None = None) -> AsyncGenerator[str, None]:
    """An engine that serves for as long as this is entered; gives its url. Raises ConfigurationError.

    Without a ``key`` to sign with one is made, off the event loop because it takes a while.
    """
    engine = Engine(config, key or await asyncio.to_thread(rsa.generate_private_key, 65537, 2048))
    runner = web.AppRunner(
        make_app(engine, config.max_body_bytes),
        access_log=None,  # it would hold api keys
        handler_cancellation=True,
        shutdown_timeout=SHUTDOWN_S,
    )
    await runner.setup()
    async with engine.watching():
        try:
            yield await _listen(runner, config)
        finally:
            engine.waiting.close()
            await runner.cleanup()


def make_app(engine: Engine, max_body_bytes: int) -> web.Application:
    """The application that serves an engine."""
    app = web.Application(middlewares=[errors_as_json], client_max_size=max_body_bytes)
    app[ENGINE] = engine
    app.add_routes(ROUTES)
    return app


async def _listen(runner: web.AppRunner, config: EngineConfig) -> str:
    site = web.TCPSite(runner, config.host, config.port)
    try:
        await site.start()
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {config.host}:{config.port} ({error.strerror}): "
            "choose another port with --port, or --port 0 for any free one"
        ) from None
    host, port = runner.addresses[0][:2]
    return f"http://{_reachable(str(host))}:{port}"


def _reachable(host: str) -> str:
    """A host as a url names it; of all addresses, the loopback one."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - it is only read here
    return f"[{host}]" if ":" in host else host
