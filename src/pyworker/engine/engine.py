"""The engine: its parts, and what it does by itself while time passes."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from pyworker.engine.changes import Changes
from pyworker.engine.core.addresses import ANYWHERE, Network
from pyworker.engine.core.derived import digest
from pyworker.engine.core.dispatch import Dispatcher, Moment
from pyworker.engine.core.endpoints import Endpoint
from pyworker.engine.core.keys import Keys
from pyworker.engine.core.limits import Limits, Rates
from pyworker.engine.core.logins import Logins
from pyworker.engine.core.numbers import Numbers
from pyworker.engine.core.registry import Registry
from pyworker.engine.core.signing import Signer
from pyworker.engine.core.silence import Probe, lose_silent, may_probe, probed, to_probe
from pyworker.engine.core.workers import Worker
from pyworker.engine.feed import Feed
from pyworker.engine.identity import Identity
from pyworker.engine.journal import Journal
from pyworker.engine.metrics import Meters
from pyworker.engine.pressure import Pressure
from pyworker.engine.prober import Prober
from pyworker.engine.records import Records
from pyworker.engine.refusals import Refusals
from pyworker.engine.store.store import Store
from pyworker.engine.store.thread import StoreThread
from pyworker.engine.waiting import WaitingRoom
from pyworker.errors import StoreError, WrongKey
from pyworker.wire import RouteAnswer, WaitingAnswer, WorkerStatus

__all__ = ["Engine", "EngineConfig", "moment", "utc_now"]

log = logging.getLogger("pyworker.engine")

TICK_S: Final = 0.5
BLOCK: Final = 1_000_000  # numbers that are set aside at once; more are when half of them are gone


@dataclass(frozen=True)
class EngineConfig:
    """How an engine is started; port 0 takes any free one. ``networks`` are where its workers may be.

    ``api_key`` opens everything for as long as this engine runs, beside the keys that are stored. ``endpoints`` are
    made when there are none of these names. ``tls`` are a certificate and its key, as PEM files. Into
    ``trusted_networks`` the engine sends a worker's mtoken over plain http; elsewhere over https only. With
    ``sign_without_token`` an instance gets its first certificate without an mtoken. With ``allow_launch`` workergroups
    with commands of their own may be made from other machines, too.
    """

    api_key: str | None = field(default=None, repr=False)
    endpoints: Sequence[str] = ()
    host: str = "127.0.0.1"
    port: int = 8080
    max_queue_time_s: float = 30.0
    networks: Sequence[Network] = ANYWHERE
    trusted_networks: Sequence[Network] = ()
    sign_without_token: bool = False
    allow_launch: bool = False
    rates: Rates = field(default_factory=Rates)
    max_body_bytes: int = 4 * 1024 * 1024
    max_held_bytes: int = 64 * 1024 * 1024  # of all bodies together for which nobody has vouched yet
    free_bytes: int = 16 * 1024  # of each body, which do not count
    tls: tuple[str, str] | None = None
    public_url: str = ""  # under which workers elsewhere reach it; made of host and port when empty


class Engine:
    """The parts that answer calls."""

    def __init__(self, config: EngineConfig, store: Store, identity: Identity) -> None:
        self.config = config
        self.store = store
        self.identity = identity
        self.thread = StoreThread()
        self.changes = Changes()
        self.registry = Registry(config.networks)
        self.keys = Keys({}, identity.endpoint_key)
        self.signer = Signer(identity.rsa_keys, secrets.token_bytes)
        self.authority = identity.authority
        self.records = Records(
            store, self.thread, self.registry, identity, self.changes, now_s=time.monotonic, epoch_s=time.time
        )
        self._numbers = Numbers()
        self._last_reqnum = 0  # that is set aside
        self.dispatcher = Dispatcher(self.registry, self.signer, self._numbers, below=secrets.randbelow)
        self.waiting = WaitingRoom()
        self.refusals = Refusals()
        self.pressure = Pressure()
        self.limits = Limits(config.rates)
        self.feed = Feed()
        self.logins = Logins()
        self.journal = Journal(store, self.thread, self.changes, self.feed.publish, time.time)
        self.meters = Meters()
        self.url = ""
        self._probes: set[asyncio.Task[None]] = set()

    # --- its life ---

    def load(self) -> None:
        """Read what is stored. Blocks; call it before anything is served. Raises StoreError."""
        reqnums = self._reserve("reqnum")
        self._last_reqnum = reqnums.stop - 1
        self.records.load(reqnums.start)
        self._give(self._reserve("request_idx"))
        for key in self.store.account_keys():
            if key.revoked_epoch_s is None:
                self.keys.allow(key.digest, key.limits)
        if self.config.api_key and not self.keys.knows(digest(self.config.api_key)):
            self.keys.allow(digest(self.config.api_key))

    @asynccontextmanager
    async def watching(self) -> AsyncGenerator[None, None]:
        """Watch over silence and waiting requests for as long as this is entered."""
        self._prober = Prober()
        running = [
            asyncio.create_task(self._tick_for_ever()),
            asyncio.create_task(self.pressure.keep_looking()),
            asyncio.create_task(self.journal.keep_writing()),
        ]
        try:
            yield
        finally:
            tasks = [*running, *self._probes]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._prober.close()

    def let_go(self) -> None:
        """Whoever waits here need not wait any more."""
        self.waiting.close()
        self.feed.close()

    async def close(self) -> None:
        """Store what is not stored yet; nobody may call any more."""
        try:
            await self.journal.write()
        except StoreError as error:
            log.error("the endpoints' log could not be stored: %s", error)
        await self.records.store_noted()
        await self.changes.close()
        await self.thread.close()

    # --- requests and their line ---

    async def hold(
        self, request_idx: int, wait_s: float, owner: str = "", require_key: Callable[[], object] = lambda: None
    ) -> RouteAnswer | WaitingAnswer | None:
        """What a request that waits is answered, once there is a worker for it or ``wait_s`` have passed.

        ``require_key`` raises WrongKey when the key that asked, which ``owner`` names, was revoked meanwhile.
        """
        if not self.pressure.may_hold:
            return None
        self.pressure.held += 1
        self.dispatcher.hold(request_idx, time.monotonic(), held=True)
        try:
            await self.waiting.hold(request_idx, wait_s, owner)
            require_key()
        except (asyncio.CancelledError, WrongKey):  # its client has left, or may not ask any more
            self.dispatcher.give_up(request_idx)
            raise
        finally:
            self.pressure.held -= 1
            self.dispatcher.hold(request_idx, time.monotonic(), held=False)
        answer = self.dispatcher.poll(request_idx, moment())
        self.wake_placed()
        return answer

    def serve_line(self, endpoint: Endpoint) -> None:
        """Something changed: are there workers for those who wait?"""
        self.dispatcher.place(endpoint, moment())
        self.wake_placed()

    def wake_placed(self) -> None:
        """Answer those who are held and have a worker now."""
        self.waiting.wake(self.dispatcher.take_placed())

    def count_route(self, endpoint: Endpoint, answer: RouteAnswer | WaitingAnswer, took_s: float) -> None:
        """Into the metrics."""
        self.meters.routed(endpoint.name, is_routed=isinstance(answer, RouteAnswer), took_s=took_s)

    # --- workers ---

    def heard(self, worker: Worker, status: WorkerStatus, now_s: float) -> None:
        """A worker has reported."""
        self._warn_of_namesake(worker)
        before, starts = worker.state, worker.starts
        self.dispatcher.report(worker, status, now_s)
        self._note_key(worker, has_started=worker.starts != starts)
        self.meters.reports += 1
        if worker.state != before:
            self.changed_state(worker, before)
        self.records.note(worker)
        self.serve_line(worker.endpoint)

    def changed_state(self, worker: Worker, before: str) -> None:
        """Say that a worker's state is another one."""
        told = {"worker_id": worker.id, "url": worker.url, "before": before, "after": worker.state}
        why = f": {worker.error}" if worker.error else ""
        text = f"worker {worker.id} is {worker.state} (was {before}){why}"
        self.journal.note(worker.endpoint, text, group=worker.group, told=told)
        self.feed.publish("worker", {"endpoint": worker.endpoint.name, **told, "error": worker.error})

    def _note_key(self, worker: Worker, *, has_started: bool) -> None:
        """Workers of others fetch the RSA key once, when they start; ours ask again when a signature does not hold."""
        if worker.ours:
            worker.rsa_generation = 0
        elif has_started or not worker.rsa_generation:
            worker.rsa_generation = self.signer.generation

    def probe_suspects(self) -> None:
        """Call the workers whose clients came back, each at most once a second."""
        now_s = time.monotonic()
        for suspect in self.dispatcher.take_suspects():
            if may_probe(suspect, now_s):
                self._probe(suspect)

    def _warn_of_namesake(self, worker: Worker) -> None:
        other = self.registry.namesake(worker)
        if other is not None:
            told = {"worker_id": worker.id, "url": worker.url, "other_url": other.url, "endpoint": worker.endpoint.name}
            log.warning("two workers report with the same id: give each its own CONTAINER_ID", extra=told)

    # --- as time passes ---

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                self._tick(time.monotonic())
                await self._reserve_ahead()
                await self.records.store_noted()
            except Exception:
                log.exception("what the engine does by itself failed; it is done again")

    def _tick(self, now_s: float) -> None:
        """What time alone changes: silent workers, requests long gone, and whose turn it is then."""
        workers = self.registry.all_workers
        for worker in to_probe(workers, now_s):
            self._probe(worker)
        for worker in lose_silent(workers, now_s):
            self._lost(worker)
        for worker in workers:
            worker.forget_the_air(now_s)
        self.dispatcher.forget(now_s)
        for endpoint in self.registry.endpoints:
            self.serve_line(endpoint)

    def _probe(self, worker: Worker) -> None:
        task = asyncio.create_task(self._call(worker))
        self._probes.add(task)
        task.add_done_callback(self._probes.discard)

    async def _call(self, worker: Worker) -> None:
        answered: Probe = await self._prober.call(worker.url)
        if probed(worker, answered, time.monotonic()):
            self._lost(worker)

    def _lost(self, worker: Worker) -> None:
        log.warning("worker is gone", extra={"worker_id": worker.id, "url": worker.url, "reason": worker.error})
        self.journal.note(worker.endpoint, f"worker {worker.id} is gone: {worker.error}", group=worker.group)
        told = {"endpoint": worker.endpoint.name, "worker_id": worker.id, "after": "gone", "error": worker.error}
        self.feed.publish("worker", told)

    # --- numbers ---

    def _reserve(self, name: str) -> range:
        return self.store.reserve(name, BLOCK, at_least=int(time.time() * 1_000_000))

    def _give(self, block: range) -> None:
        self._numbers.give(block.start, len(block))

    async def _reserve_ahead(self) -> None:
        """Another block of numbers before one is used up. Without one, requests are told to wait."""
        try:
            if self._numbers.left < BLOCK // 2:
                self._give(await self.thread.run(self._reserve, "request_idx"))
            highest = max((worker.reqnum for worker in self.registry.all_workers), default=0)
            if highest > self._last_reqnum - BLOCK // 2:
                self._last_reqnum = (await self.thread.run(self._reserve, "reqnum")).stop - 1
        except StoreError as error:
            log.error("no more numbers can be set aside: %s", error)


def moment() -> Moment:
    """Now."""
    return Moment(time.monotonic(), time.time())


def utc_now() -> datetime:
    """Now, for certificates."""
    return datetime.now(UTC)
