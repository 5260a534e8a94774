"""What starts and stops workers: one small protocol, whatever the machines are.

An *instance* is what a provider keeps for one worker: its processes while it runs, its folder (logs, benchmark score)
until it is destroyed. The engine gives each its number, and knows it again by that number after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from pyworker.engine.core.parameters import Launch

__all__ = ["Instance", "InstanceSpec", "InstanceState", "Provider"]


class InstanceState(Enum):
    """What a provider sees of an instance."""

    STARTING = "starting"  # asked for; waits for its machine or its resources
    RUNNING = "running"  # its processes are there; whether the model is loaded only its reports say
    STOPPED = "stopped"  # asked to stop, and has: keeps its folder, can be started again
    FAILED = "failed"  # ended without being asked to, or could not be started; ``reason`` says why
    LOST = "lost"  # its machine is gone, and its folder with it


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """What an instance is made of. ``environment`` holds secrets: it is never logged, and stored with mode 0600.

    The provider adds to it what it alone knows: WORKER_PORT, VAST_TCP_PORT_<port>, PUBLIC_IPADDR, MODEL_LOG,
    MODEL_SERVER_URL, PYWORKER_STATE_DIR and, where there are GPUs, CUDA_VISIBLE_DEVICES.
    """

    id: int
    name: str  # endpoint and group, for people
    launch: Launch
    environment: dict[str, str] = field(repr=False)
    drain_s: float = 30.0  # how long its requests may finish once it is asked to stop


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance as its provider sees it now. ``reason`` is for people: an exit status and the last log lines.

    ``reports_to`` is the REPORT_ADDR that it was started with, where its provider knows it.
    """

    id: int
    state: InstanceState
    reason: str = ""
    reports_to: str = ""


class Provider(Protocol):
    """Each call raises ProviderError, which says what to do; each may be cancelled, and asked again afterwards.

    Calls for one instance come one after the other, those for different ones side by side.
    """

    async def create(self, spec: InstanceSpec) -> None:
        """Make an instance and start it. Returns when its processes are started, not when its model is loaded.

        Where it waits for resources it returns too: STARTING. One that is there and does not run gets this spec and
        is started in the folder that it has; one that runs is left as it is.
        """
        ...

    async def start(self, instance_id: int, environment: Mapping[str, str] | None = None) -> None:
        """Start an instance that does not run again, in the folder that it has. One that runs is left as it is.

        ``environment`` is what has changed in the one that it was made with.
        """
        ...

    async def stop(self, instance_id: int) -> None:
        """Let it drain and end its processes, but keep its folder. An instance that does not run is left as it is."""
        ...

    async def destroy(self, instance_id: int) -> None:
        """End its processes at once and remove its folder. One that is not there is no error."""
        ...

    async def list(self) -> Sequence[Instance]:
        """All instances of this engine that there are, those of an engine before it included."""
        ...

    async def logs(self, instance_id: int, tail: int = 50) -> dict[str, list[str]]:
        """The last lines of each of its logs, by name, without secrets."""
        ...

    async def close(self) -> None:
        """The engine ends properly: leave nothing behind that runs."""
        ...
