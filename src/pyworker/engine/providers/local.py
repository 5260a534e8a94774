"""Workers on this machine: an instance is a folder, and a supervisor with the worker and its model server."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from pyworker.engine.changes import Changes
from pyworker.engine.core.parameters import Launch, Resources
from pyworker.engine.providers.base import Instance, InstanceSpec, InstanceState
from pyworker.engine.providers.gpus import choose_gpus, find_gpus, shares
from pyworker.engine.providers.supervision import Supervision, disk_trouble, explained
from pyworker.errors import ProviderError
from pyworker.instance import control
from pyworker.instance.order import Order
from pyworker.instance.surroundings import inherited
from pyworker.settings import environment as process_environment

__all__ = ["LocalProvider", "order_for"]

log = logging.getLogger("pyworker.providers.local")

_GB: Final = 1e9
_OURS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}  # troubles that say nothing of the instance


class LocalProvider:
    """Instances under ``data_dir``, one folder each, named by its number.

    ``address`` is where clients reach this machine. ``gpus`` says which GPUs there are, as CUDA_VISIBLE_DEVICES names
    them. Instances of an engine before this one are found in their folders, and go on.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        address: str = "127.0.0.1",
        gpus: Callable[[], Sequence[str]] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        around = process_environment() if environment is None else environment
        self._data_dir = data_dir.absolute()
        self._address = address
        self._environment = inherited(around)
        self._find_gpus = gpus or (lambda: find_gpus(around))
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._starting: dict[int, Order] = {}
        self._reports_to: dict[int, str] = {}
        self._placing = asyncio.Lock()
        self._changes = Changes()  # nothing is half started
        self._closed = False

    async def create(self, spec: InstanceSpec) -> None:
        """Make an instance and start it. One that is there is left as it is when it runs, and gets this spec when not.

        Raises ProviderError; what could be made of it stays, as FAILED, until it is destroyed.
        """
        _warn_of_resources(spec.name, spec.launch.resources)
        await self._changes.make(self._create(spec))

    async def _create(self, spec: InstanceSpec) -> None:
        async with self._locked(spec.id):
            if not await self._runs(spec.id):
                await self._start(order_for(spec, self._address), spec.launch.resources.gpus)

    async def start(self, instance_id: int, environment: Mapping[str, str] | None = None) -> None:
        """Start a stopped or failed instance again in the folder that it has. Raises ProviderError.

        ``environment`` is what has changed in the one that it was made with.
        """
        await self._changes.make(self._start_again(instance_id, environment or {}))

    async def _start_again(self, instance_id: int, environment: Mapping[str, str]) -> None:
        async with self._locked(instance_id):
            if await self._runs(instance_id):
                return
            order = await asyncio.to_thread(self._supervision(instance_id).order)
            if order is None:
                raise ProviderError(f"there is no instance {instance_id} under {self._data_dir}: create it")
            order = order._replace(environment={**order.environment, **environment})
            await self._start(order, len(order.gpus) * order.gpu_share)

    async def stop(self, instance_id: int) -> None:
        """Let it drain and end, and keep its folder; one that does not run is left as it is. Raises ProviderError."""
        async with self._locked(instance_id):
            await self._supervision(instance_id).stop()

    async def destroy(self, instance_id: int) -> None:
        """End it at once and remove its folder; one that is not there is no error. Raises ProviderError."""
        async with self._locked(instance_id):
            await self._supervision(instance_id).remove()
            self._reports_to.pop(instance_id, None)

    async def list(self) -> Sequence[Instance]:
        """All instances that have a folder here. Raises ProviderError when it cannot be read."""
        with explained(self._data_dir):
            await asyncio.to_thread(control.reap)
            ids = await asyncio.to_thread(lambda: sorted(self._ids()))
        return [await self._seen(instance_id) for instance_id in ids]

    async def _seen(self, instance_id: int) -> Instance:
        state, reason = await self._look(instance_id)
        if state is not InstanceState.RUNNING:
            return Instance(instance_id, state, reason)
        if instance_id not in self._reports_to:
            order = await asyncio.to_thread(self._supervision(instance_id).order)
            self._reports_to[instance_id] = order.environment.get("REPORT_ADDR", "") if order else ""
        return Instance(instance_id, state, reason, self._reports_to[instance_id])

    async def logs(self, instance_id: int, tail: int = 50) -> dict[str, list[str]]:
        """The last lines of each of its logs by the file's name, without secrets: for people."""
        return await asyncio.to_thread(self._supervision(instance_id).tail, tail)

    async def close(self) -> None:
        """Stop all that run, side by side; nothing is started any more."""
        self._closed = True
        instances = await self.list()
        results = await asyncio.gather(*(self.stop(instance.id) for instance in instances), return_exceptions=True)
        for instance, result in zip(instances, results, strict=True):
            if isinstance(result, Exception):
                log.error("instance %d could not be stopped: %s", instance.id, result)
            elif isinstance(result, BaseException):
                raise result

    def _supervision(self, instance_id: int) -> Supervision:
        return Supervision(self._data_dir / str(instance_id))

    def _ids(self) -> Iterator[int]:
        if self._data_dir.exists():
            for path in self._data_dir.iterdir():
                if path.name.isascii() and path.name.isdigit() and path.is_dir():
                    yield int(path.name)

    async def _runs(self, instance_id: int) -> bool:
        return await asyncio.to_thread(self._supervision(instance_id).folder.supervisor_pid) is not None

    async def _look(self, instance_id: int) -> tuple[InstanceState, str]:
        supervision = self._supervision(instance_id)
        if instance_id in self._starting:
            return InstanceState.STARTING, "its processes are being started"
        try:
            looked = await asyncio.to_thread(supervision.look)
            if looked is not None:
                return looked
            async with self._locks[instance_id]:  # not while it is being started or ended
                return await asyncio.to_thread(supervision.look_or_bury)
        except OSError as error:
            words = disk_trouble(error, supervision.folder.path)
            if error.errno in _OURS:
                raise ProviderError(words) from None
            return InstanceState.FAILED, words

    @asynccontextmanager
    async def _locked(self, instance_id: int) -> AsyncGenerator[None]:
        """One thing at a time is done to an instance; errors of the disk become ProviderErrors."""
        async with self._locks[instance_id]:
            with explained(self._supervision(instance_id).folder.path):
                yield

    async def _start(self, order: Order, gpus: float) -> None:
        if self._closed:
            raise ProviderError("the engine is ending: nothing is started any more")
        try:
            order = await self._place(order, gpus)
            supervision = self._supervision(order.id)
            await supervision.until_started(await asyncio.to_thread(supervision.begin, order, self._environment))
        finally:
            self._starting.pop(order.id, None)
            self._reports_to.pop(order.id, None)

    async def _place(self, order: Order, gpus: float) -> Order:
        """With the GPUs that it gets; they are its own from here on."""
        async with self._placing:
            if gpus > 0:
                present, given = await asyncio.to_thread(lambda: (self._find_gpus(), [*self._given()]))
                taken = shares([*given, *((order.gpus, order.gpu_share) for order in self._starting.values())])
                chosen, share = choose_gpus(gpus, present, taken)
                order = order._replace(gpus=chosen, gpu_share=share)
            self._starting[order.id] = order
            return order

    def _given(self) -> Iterator[tuple[Sequence[str], float]]:
        """The GPUs of each instance that runs; one that is being started does not count twice."""
        for instance_id in self._ids():
            supervision = self._supervision(instance_id)
            order = supervision.order()
            if instance_id not in self._starting and order and supervision.folder.supervisor_pid() is not None:
                yield order.gpus, order.gpu_share


def order_for(spec: InstanceSpec, address: str) -> Order:
    """What a supervisor is told, of what a provider is."""
    launch: Launch = spec.launch
    return Order(
        id=spec.id,
        name=spec.name,
        worker=list(launch.worker),
        model=None if launch.model is None else list(launch.model),
        environment={**launch.environment, **spec.environment},
        working_directory=launch.working_directory,
        drain_s=spec.drain_s,
        public_address=address,
    )


def _warn_of_resources(name: str, wanted: Resources) -> None:
    """Nobody is held to CPUs and memory here, but whoever asks for more than there is will want to know."""
    cpus = os.cpu_count() or 1
    memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GB
    if wanted.cpus > cpus or wanted.memory_gb > memory_gb:
        log.warning(
            "%s wants %g CPUs and %g GB of memory, this machine has %d and %.0f GB",
            name,
            wanted.cpus,
            wanted.memory_gb,
            cpus,
            memory_gb,
        )
