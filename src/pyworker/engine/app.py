"""Starts an engine on a socket, and stops it without cutting anybody off."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Coroutine, Generator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from aiohttp import web

from pyworker.connections import serving
from pyworker.engine.calls.dashboard import ASSETS, GATEWAY, Asset, on_prepare, read_assets
from pyworker.engine.calls.http import ENGINE, INTAKE, MANAGEMENT, SCALER, errors_as_json
from pyworker.engine.calls.routes import ROUTES
from pyworker.engine.core.scaling.memory import Tempo
from pyworker.engine.data_directory import data_directory
from pyworker.engine.engine import Engine, EngineConfig, utc_now
from pyworker.engine.gateway import EngineRouter
from pyworker.engine.instances import Instances
from pyworker.engine.management import Management
from pyworker.engine.providers.base import Provider
from pyworker.engine.scaler import Scaler
from pyworker.engine.telling import keep_telling
from pyworker.errors import ConfigurationError
from pyworker.gateway.gateway import Gateway
from pyworker.intake import Intake
from pyworker.net import server_tls

__all__ = ["RunningEngine", "running_engine"]

SHUTDOWN_S: Final = 5.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RunningEngine:
    """An engine that serves at ``url``. ``new_key`` is the account key that was made because there was none."""

    url: str
    engine: Engine
    management: Management
    scaler: Scaler
    new_key: str | None = None


@asynccontextmanager
async def running_engine(
    config: EngineConfig,
    folder: Path | None = None,
    providers: Mapping[str, Provider] | None = None,
    tempo: Tempo | None = None,
) -> AsyncGenerator[RunningEngine]:
    """An engine that serves for as long as this is entered. Raises ConfigurationError, StoreError.

    What it must not forget is in ``folder``; without one in a temporary one, which goes with it. At the end its workers
    are stopped while it still serves, since they finish what they have and report it.
    """
    async with AsyncExitStack() as stack:
        engine, kept_in = await stack.enter_async_context(_in_a_thread(_loaded(config, folder)))
        stack.push_async_callback(engine.close)
        instances = Instances(engine, providers or {})
        scaler = Scaler(engine, instances, tempo)
        management = Management(engine, instances, scaler, kept_in)
        engine.url = await _serve(stack, engine, management, scaler)
        new_key = await _make_what_is_missing(engine, management)  # it listens: the key, shown this once, is not lost
        await stack.enter_async_context(engine.watching())
        stack.push_async_callback(instances.close)
        await stack.enter_async_context(_meanwhile(scaler.keep_scaling()))
        await stack.enter_async_context(_meanwhile(management.keep_deleting()))
        await stack.enter_async_context(_meanwhile(keep_telling(engine, scaler)))
        yield RunningEngine(engine.url, engine, management, scaler, new_key)


@contextmanager
def _loaded(config: EngineConfig, folder: Path | None) -> Generator[tuple[Engine, Path]]:
    """An engine with all that it remembers, and the folder that it is in."""
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pyworker-engine-")))
        kept = stack.enter_context(data_directory(folder, utc_now()))
        engine = Engine(config, kept.store, kept.identity)
        engine.load()
        yield engine, kept.folder


@asynccontextmanager
async def _in_a_thread(blocking: AbstractContextManager[_T]) -> AsyncGenerator[_T]:
    """Enter and leave a context manager that reads and writes files, off the event loop."""
    entered = await asyncio.to_thread(blocking.__enter__)
    try:
        yield entered
    finally:
        await asyncio.to_thread(blocking.__exit__, None, None, None)


async def _make_what_is_missing(engine: Engine, management: Management) -> str | None:
    """The endpoints that shall be there, and an account key when there is none; gives that."""
    there = {endpoint.name for endpoint in engine.registry.endpoints}
    for name in engine.config.endpoints:
        if name not in there:
            await management.create_endpoint({"endpoint_name": name, "max_queue_time": engine.config.max_queue_time_s})
    if engine.config.api_key or any(row.revoked_epoch_s is None for row in await management.list_keys()):
        return None
    _, key = await management.create_key("made at the first start")
    return key


@asynccontextmanager
async def _meanwhile(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Do this beside what is in the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _serve(stack: AsyncExitStack, engine: Engine, management: Management, scaler: Scaler) -> str:
    config = engine.config
    gateway = await stack.enter_async_context(Gateway(EngineRouter(engine, scaler)))
    engine.meters.gateway = gateway.meters
    app = _app(engine, management, scaler, gateway, await asyncio.to_thread(read_assets))
    tls = server_tls(config.tls)
    try:
        host, port = await stack.enter_async_context(
            serving(app, shutdown_s=SHUTDOWN_S, host=config.host, port=config.port, ssl=tls)
        )
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {config.host}:{config.port} ({error.strerror}): "
            "choose another port with --port, or --port 0 for any free one"
        ) from None
    stack.callback(engine.let_go)
    return config.public_url or f"{'https' if config.tls else 'http'}://{_reachable(host)}:{port}"


def _app(
    engine: Engine, management: Management, scaler: Scaler, gateway: Gateway, assets: dict[str, Asset]
) -> web.Application:
    app = web.Application(middlewares=[errors_as_json])
    config = engine.config
    app[INTAKE] = Intake(
        max_body_bytes=config.max_body_bytes, max_held_bytes=config.max_held_bytes, free_bytes=config.free_bytes
    )
    app[ENGINE], app[MANAGEMENT], app[SCALER] = engine, management, scaler
    app[ASSETS], app[GATEWAY] = assets, gateway
    app.on_response_prepare.append(on_prepare)
    app.add_routes([*ROUTES, *gateway.routes()])
    return app


def _reachable(host: str) -> str:
    """A host as a url names it; of all addresses, the loopback one."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - it is only read here
    return f"[{host}]" if ":" in host else host
