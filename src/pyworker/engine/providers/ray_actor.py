"""What runs on a node of the cluster: an actor that holds an instance's resources, and its supervisor.

The supervisor is tied to the actor's process: when Ray ends that, in whatever way, the instance ends too.
"""

from __future__ import annotations

import asyncio
import importlib
import shutil
from pathlib import Path
from typing import Any

from pyworker.engine.providers.base import InstanceState
from pyworker.engine.providers.supervision import Supervision
from pyworker.errors import ProviderError
from pyworker.instance.order import Order
from pyworker.instance.surroundings import inherited
from pyworker.settings import environment

__all__ = ["InstanceActor", "remove_folder"]


class InstanceActor:
    """Starts the supervisor of ``order`` in ``folder``, on the node where Ray has put it.

    An order without a public address gets the node's.
    """

    def __init__(self, order: Order, folder: str) -> None:
        ray: Any = importlib.import_module("ray")
        self._node_id: str = ray.get_runtime_context().get_node_id()
        if not order.public_address:
            addresses = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
            order = order._replace(public_address=addresses[self._node_id])
        self._supervision = Supervision(Path(folder).expanduser())
        self._trouble = ""
        try:
            # CUDA_VISIBLE_DEVICES, which Ray has set for this process, is among what is handed on
            self._spawned = self._supervision.begin(order, inherited(environment()), tied=True)
            self._starting = True
        except ProviderError as error:
            self._trouble, self._starting = str(error), False

    async def look(self) -> tuple[InstanceState, str, str]:
        """Its state, the reason, and the node's id; the first time it waits until its processes are started."""
        if self._starting:
            self._starting = False
            try:
                await self._supervision.until_started(self._spawned)
            except ProviderError as error:
                self._trouble = str(error)
        if self._trouble:
            return InstanceState.FAILED, self._trouble, self._node_id
        state, reason = await asyncio.to_thread(self._supervision.look_or_bury)
        return state, reason, self._node_id

    async def tail(self, lines: int) -> dict[str, list[str]]:
        """The last lines of its logs."""
        return await asyncio.to_thread(self._supervision.tail, lines)

    async def stop(self) -> None:
        """Let it drain and end."""
        await self._supervision.stop()

    async def remove(self) -> None:
        """End it at once, and remove its folder."""
        await self._supervision.remove()


def remove_folder(folder: str) -> None:
    """What is left of an instance that has no actor any more."""
    shutil.rmtree(Path(folder).expanduser(), ignore_errors=True)
