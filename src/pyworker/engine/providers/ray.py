"""Workers on a cluster: each instance is an actor of Ray, which finds a node for it and holds its resources there.

The engine keeps a record of each (``ray_records.py``); the actors have names, so that an engine that comes after this
one finds them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from pyworker.engine.providers.base import Instance, InstanceSpec, InstanceState
from pyworker.engine.providers.local import order_for
from pyworker.engine.providers.ray_cluster import Cluster
from pyworker.engine.providers.ray_records import Record, Records
from pyworker.engine.providers.ray_words import actor_options, wanted, why_waiting
from pyworker.engine.providers.supervision import END_MARGIN_S, disk_trouble
from pyworker.errors import ProviderError

__all__ = ["RayProvider"]

log = logging.getLogger("pyworker.providers.ray")

FIRST_LOOK_S: Final = 10.0  # after which one that waits for resources is left to wait
LOOK_S: Final = 2.0  # for an actor to answer
REMOVE_S: Final = 15.0

_LOOPBACK: Final = "127.0.0.1"

_T = TypeVar("_T")


class RayProvider:
    """Instances on the nodes of the cluster at ``address``: "auto", "host:port", "ray://host:port"; None: this machine.

    ``data_dir`` is the engine's, for its records. On its node an instance has ``folder``/<namespace>/<number>.
    pyworker must be installed on every node, in the same version.
    """

    def __init__(
        self, data_dir: Path, *, address: str | None = None, folder: str = "~/.local/state/pyworker/instances"
    ) -> None:
        self._records = Records(data_dir)
        self._data_dir = data_dir
        self._address = address
        self._root = folder
        self._namespace = ""
        self._cluster: Cluster | None = None
        self._joining = asyncio.Lock()
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._actors: dict[int, Any] = {}
        self._looks: dict[int, asyncio.Future[tuple[InstanceState, str, str]]] = {}
        self._closed = False

    # --- the protocol ---

    async def create(self, spec: InstanceSpec) -> None:
        """Make an instance and start it. One that is there is left as it is when it runs, and gets this spec when not.

        Returns when its processes are started, or when it waits for resources: then it is STARTING. Raises
        ProviderError.
        """
        async with self._locks[spec.id]:
            before = await self._record(spec.id)
            if before is None or before.state is not InstanceState.RUNNING:
                order = order_for(spec, _LOOPBACK if self._address is None else "")._asdict()
                node_id = before.node_id if before else ""
                await self._start(spec.id, Record(order=order, resources=spec.launch.resources, node_id=node_id))

    async def start(self, instance_id: int, environment: Mapping[str, str] | None = None) -> None:
        """Start a stopped, failed or lost instance again, on the node that has its folder if that has room.

        ``environment`` is what has changed in the one that it was made with.
        """
        async with self._locks[instance_id]:
            record = await self._record(instance_id)
            if record is None:
                raise ProviderError(f"there is no instance {instance_id} in {self._data_dir}: create it")
            if record.state is not InstanceState.RUNNING:
                order = {**record.order, "environment": {**record.order["environment"], **(environment or {})}}
                await self._start(instance_id, msgspec.structs.replace(record, order=order))

    async def stop(self, instance_id: int) -> None:
        """Let it drain and end, and free its resources; its folder stays on its node."""
        async with self._locks[instance_id]:
            record = await self._record(instance_id)
            if record is None or record.state is not InstanceState.RUNNING:
                return
            actor = await self._actor(instance_id)
            if actor is not None and await self._is_placed(instance_id, record):
                drain_s = record.told().drain_s
                await self._ask(actor, "stop", drain_s + END_MARGIN_S)
            await self._let_go(instance_id, record, InstanceState.STOPPED)

    async def destroy(self, instance_id: int) -> None:
        """End it at once and remove its folder; one that is not there is no error."""
        async with self._locks[instance_id]:
            record = await self._record(instance_id)
            if record is None:
                return
            actor = await self._actor(instance_id) if record.state is InstanceState.RUNNING else None
            if actor is not None and await self._is_placed(instance_id, record):
                await self._ask(actor, "remove", REMOVE_S)
            elif record.node_id:
                await self._remove_folder(instance_id, record.node_id)
            await self._kill(instance_id)
            await self._on_disk(lambda: self._records.forget(instance_id))

    async def list(self) -> Sequence[Instance]:
        """All instances of this engine, those of an engine before it included."""
        records = await self._on_disk(self._records.all)
        if not records:
            return []
        nodes = await self._with_ray(Cluster.nodes)
        return await asyncio.gather(*(self._look(number, record, nodes) for number, record in records.items()))

    async def logs(self, instance_id: int, tail: int = 50) -> dict[str, list[str]]:
        """The last lines of each of its logs, while it runs; without secrets: for people."""
        actor = await self._actor(instance_id)
        return {} if actor is None else await self._ask(actor, "tail", LOOK_S, tail) or {}

    async def close(self) -> None:
        """Stop all that run, side by side, and leave the cluster; nothing is started any more."""
        self._closed = True
        running = [
            number
            for number, record in (await self._on_disk(self._records.all)).items()
            if record.state is InstanceState.RUNNING
        ]
        results = await asyncio.gather(*(self.stop(number) for number in running), return_exceptions=True)
        for number, result in zip(running, results, strict=True):
            if isinstance(result, Exception):
                log.error("instance %d could not be stopped: %s", number, result)
            elif isinstance(result, BaseException):
                raise result
        if self._cluster is not None:
            cluster, self._cluster = self._cluster, None
            await asyncio.to_thread(cluster.leave)

    # --- one instance ---

    async def _start(self, instance_id: int, record: Record) -> None:
        if self._closed:
            raise ProviderError("the engine is ending: nothing is started any more")
        record = msgspec.structs.replace(record, state=InstanceState.RUNNING, reason="", placed=False)
        await self._kill(instance_id)
        await self._put(instance_id, record)
        order, options = record.told(), actor_options(record.resources)
        folder = self._folder(instance_id)
        self._actors[instance_id] = await self._with_ray(
            lambda cluster: cluster.submit(instance_id, order, folder, options, record.node_id)
        )
        looked = await self._look_at_actor(instance_id, FIRST_LOOK_S)
        if isinstance(looked, BaseException):
            await self._let_go(instance_id, record, InstanceState.FAILED, _why_dead(looked))
            raise ProviderError(f"it could not be started: {_why_dead(looked)}")
        if looked is not None:
            state, reason, node_id = looked
            record = await self._place(instance_id, record, node_id)
            if state is InstanceState.FAILED:
                await self._let_go(instance_id, record, state, reason)
                raise ProviderError(reason)

    async def _look(self, instance_id: int, record: Record, nodes: dict[str, dict[str, float]]) -> Instance:
        if record.state is InstanceState.STOPPED and record.node_id and record.node_id not in nodes:
            return Instance(instance_id, InstanceState.LOST, "its node is gone, and its folder with it")
        if record.state is not InstanceState.RUNNING:
            return Instance(instance_id, record.state, record.reason)
        if self._locks[instance_id].locked():  # it is being started or ended
            return Instance(instance_id, InstanceState.RUNNING if record.placed else InstanceState.STARTING)
        async with self._locks[instance_id]:
            record = await self._record(instance_id) or record
            if record.state is InstanceState.RUNNING:
                return await self._look_at_running(instance_id, record, nodes)
        return Instance(instance_id, record.state, record.reason)

    async def _look_at_running(self, instance_id: int, record: Record, nodes: dict[str, dict[str, float]]) -> Instance:
        if await self._actor(instance_id) is None:
            return await self._gone(instance_id, record, "its actor is gone")
        looked = await self._look_at_actor(instance_id, LOOK_S)
        if isinstance(looked, BaseException):
            return await self._gone(instance_id, record, _why_dead(looked))
        if looked is None and not record.placed:
            free = await self._with_ray(Cluster.free)
            reason = why_waiting(wanted(record.resources), list(nodes.values()), free)
            return Instance(instance_id, InstanceState.STARTING, reason)
        if looked is None:
            return Instance(instance_id, InstanceState.RUNNING, "its node does not answer at the moment")
        state, reason, node_id = looked
        record = await self._place(instance_id, record, node_id)
        if state is not InstanceState.RUNNING:
            await self._let_go(instance_id, record, state, reason)
        return Instance(instance_id, state, reason)

    async def _place(self, instance_id: int, record: Record, node_id: str) -> Record:
        """It has answered from this node."""
        if record.placed and node_id == record.node_id:
            return record
        record = msgspec.structs.replace(record, node_id=node_id, placed=True)
        await self._put(instance_id, record)
        return record

    async def _gone(self, instance_id: int, record: Record, reason: str) -> Instance:
        """Its actor is dead: with its node, or alone."""
        nodes = await self._with_ray(Cluster.nodes)
        lost = record.placed and record.node_id not in nodes
        state = InstanceState.LOST if lost else InstanceState.FAILED
        reason = "its node is gone, and its folder with it" if lost else reason
        await self._let_go(instance_id, record, state, reason)
        return Instance(instance_id, state, reason)

    async def _look_at_actor(
        self, instance_id: int, wait_s: float
    ) -> tuple[InstanceState, str, str] | Exception | None:
        """What it says; the error when it is dead; None when it has not answered yet."""
        looking = self._looks.get(instance_id)
        if looking is None:
            actor = self._actors[instance_id]
            looking = asyncio.wrap_future(await self._with_ray(lambda cluster: cluster.call(actor, "look")))
            self._looks[instance_id] = looking
        await asyncio.wait([looking], timeout=wait_s)
        if not looking.done():
            return None
        del self._looks[instance_id]
        error = looking.exception()
        if error is None:
            return looking.result()
        dead = await self._with_ray(lambda cluster: cluster.is_death(error))
        return error if dead and isinstance(error, Exception) else None

    async def _is_placed(self, instance_id: int, record: Record) -> bool:
        """Whether its actor has a node; one that still waits for one has nothing to stop."""
        return record.placed or await self._look_at_actor(instance_id, LOOK_S) is not None

    async def _let_go(self, instance_id: int, record: Record, state: InstanceState, reason: str = "") -> None:
        """It has no actor any more."""
        await self._kill(instance_id)
        await self._put(instance_id, msgspec.structs.replace(record, state=state, reason=reason))

    async def _kill(self, instance_id: int) -> None:
        actor = await self._actor(instance_id)
        if actor is not None:
            await self._with_ray(lambda cluster: cluster.kill(actor))
        self._actors.pop(instance_id, None)
        looking = self._looks.pop(instance_id, None)
        if looking is not None:
            looking.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _remove_folder(self, instance_id: int, node_id: str) -> None:
        folder = self._folder(instance_id)
        removing = await self._with_ray(lambda cluster: cluster.remove_folder(folder, node_id))
        if removing is not None:
            await self._result(removing, REMOVE_S, f"remove {folder}")

    # --- what waits for others ---

    async def _ask(self, actor: Any, method: str, wait_s: float, *arguments: Any) -> Any:
        calling = await self._with_ray(lambda cluster: cluster.call(actor, method, *arguments))
        return await self._result(calling, wait_s, method)

    async def _result(self, calling: Future[Any], wait_s: float, what: str) -> Any:
        """What was answered; None when nobody did in time, or is there to: the actor is killed in any case."""
        done, _ = await asyncio.wait([waiting := asyncio.wrap_future(calling)], timeout=wait_s)
        error = waiting.exception() if done else TimeoutError(f"no answer within {wait_s:g} s")
        if error is None:
            return waiting.result()
        log.warning("%s: %s", what, _why_dead(error))
        return None

    async def _actor(self, instance_id: int) -> Any | None:
        if instance_id not in self._actors:
            found = await self._with_ray(lambda cluster: cluster.find(instance_id))
            if found is not None:
                self._actors[instance_id] = found
        return self._actors.get(instance_id)

    async def _with_ray(self, do: Callable[[Cluster], _T]) -> _T:
        """In a thread, because Ray blocks; there it cannot take the process's signals for itself either."""
        async with self._joining:
            if self._cluster is None:
                self._namespace = await self._on_disk(self._records.namespace)
                self._cluster = await asyncio.to_thread(Cluster, self._address, self._namespace)
        return await asyncio.to_thread(do, self._cluster)

    def _folder(self, instance_id: int) -> str:
        return f"{self._root}/{self._namespace}/{instance_id}"

    async def _record(self, instance_id: int) -> Record | None:
        return await self._on_disk(lambda: self._records.get(instance_id))

    async def _put(self, instance_id: int, record: Record) -> None:
        await self._on_disk(lambda: self._records.put(instance_id, record))

    async def _on_disk(self, do: Callable[[], _T]) -> _T:
        try:
            return await asyncio.to_thread(do)
        except OSError as error:
            raise ProviderError(disk_trouble(error, self._data_dir)) from None


def _why_dead(error: BaseException) -> str:
    """The first lines of what Ray says, in one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:300]
