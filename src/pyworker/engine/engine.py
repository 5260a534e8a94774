"""The engine: its parts, and what it does by itself while time passes."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pyworker.engine.core.addresses import ANYWHERE, Network
from pyworker.engine.core.certificates import Authority
from pyworker.engine.core.dispatch import Dispatcher, Moment
from pyworker.engine.core.keys import Keys
from pyworker.engine.core.registry import Registry
from pyworker.engine.core.signing import Signer
from pyworker.engine.core.workers import Worker
from pyworker.engine.prober import Prober
from pyworker.engine.refusals import Refusals
from pyworker.engine.waiting import WaitingRoom

__all__ = ["Engine", "EngineConfig", "epoch_us", "moment", "utc_now"]

log = logging.getLogger("pyworker.engine")

TICK_S: Final = 0.5


@dataclass(frozen=True)
class EngineConfig:
    """How an engine is started; port 0 takes any free one. ``networks`` are where its workers may be."""

    api_key: str = field(repr=False)
    endpoints: Sequence[str] = ("default",)
    host: str = "127.0.0.1"
    port: int = 8080
    max_queue_time_s: float = 30.0
    networks: Sequence[Network] = ANYWHERE
    max_body_bytes: int = 4 * 1024 * 1024


class Engine:
    """The parts that answer calls. The RSA key takes a while to make and so comes from outside."""

    def __init__(self, config: EngineConfig, key: rsa.RSAPrivateKey) -> None:
        self.registry = Registry(config.networks)
        for name in config.endpoints:
            self.registry.add_endpoint(name, max_queue_time_s=config.max_queue_time_s)
        self.keys = Keys(config.api_key, secrets.token_bytes(32))
        self.signer = Signer(key, secrets.token_bytes)
        self.authority = Authority(ec.generate_private_key(ec.SECP256R1()), utc_now())
        self.dispatcher = Dispatcher(self.registry, self.signer, first_idx=epoch_us())
        self.waiting = WaitingRoom(lambda request_idx: self.dispatcher.poll(request_idx, moment()))
        self.refusals = Refusals()
        self.created_epoch_s = time.time()
        self._probes: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def watching(self) -> AsyncGenerator[None, None]:
        """Watch over silence and waiting requests for as long as this is entered."""
        self._prober = Prober()
        ticking = asyncio.create_task(self._tick_for_ever())
        try:
            yield
        finally:
            tasks = [ticking, *self._probes]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._prober.close()

    def probe_suspects(self) -> None:
        """Call the workers whose clients came back, each at most once a second."""
        now_s = time.monotonic()
        for suspect in self.dispatcher.take_suspects():
            if self.registry.may_probe(suspect, now_s):
                self._probe(suspect)

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._tick(time.monotonic())

    def _tick(self, now_s: float) -> None:
        """What time alone changes: silent workers, requests long gone, and whose turn it is then."""
        for worker in self.registry.to_probe(now_s):
            self._probe(worker)
        for worker in self.registry.lose_silent(now_s):
            _log_lost(worker)
        self.registry.forget_the_air(now_s)
        self.dispatcher.forget(now_s)
        for endpoint in self.registry.endpoints:
            self.waiting.serve(endpoint)

    def _probe(self, worker: Worker) -> None:
        task = asyncio.create_task(self._call(worker))
        self._probes.add(task)
        task.add_done_callback(self._probes.discard)

    async def _call(self, worker: Worker) -> None:
        if self.registry.probed(worker, await self._prober.call(worker.url), time.monotonic()):
            _log_lost(worker)


def _log_lost(worker: Worker) -> None:
    log.warning("worker is gone", extra={"worker_id": worker.id, "url": worker.url})


def moment() -> Moment:
    """Now."""
    return Moment(time.monotonic(), time.time())


def epoch_us() -> int:
    """Where numbers start that must not go back at a restart: fewer than one a microsecond are ever given."""
    return int(time.time() * 1_000_000)


def utc_now() -> datetime:
    """Now, for certificates."""
    return datetime.now(UTC)
