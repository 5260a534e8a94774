"""All that is asked of Ray, and Ray itself, which is loaded when it is needed. Each call blocks: for a thread."""

from __future__ import annotations

import importlib
import socket
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Final

from pyworker.engine.providers.ray_actor import InstanceActor, remove_folder
from pyworker.errors import ProviderError
from pyworker.instance.order import Order
from pyworker.settings import set_default

__all__ = ["Cluster"]

_CONNECT_S: Final = 5.0


class Cluster:
    """The cluster at ``address``; without one a Ray of this machine alone is started, and ended by ``leave``."""

    def __init__(self, address: str | None, namespace: str) -> None:
        self._namespace = namespace
        self._ray = _load()
        self._mine = not self._ray.is_initialized()
        if self._mine:
            self._join(address)

    def _join(self, address: str | None) -> None:
        set_default("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told that it is used
        usual: dict[str, Any] = {"namespace": self._namespace, "log_to_driver": False, "logging_level": "ERROR"}
        try:
            if address is None:
                self._ray.init(address="local", include_dashboard=False, **usual)
            else:
                _require_listening(address)
                self._ray.init(address=address, **usual)
        except ImportError as error:
            raise ProviderError(f"{address} needs more of Ray: pip install 'pyworker[ray]' ({error})") from None
        except (OSError, ValueError, RuntimeError) as error:
            said = str(error).partition("\n")[0]
            raise ProviderError(
                f"there is no Ray cluster at {address or 'this machine'}: start one with `ray start --head`, "
                f"or give another --address ({said})"
            ) from None

    def leave(self) -> None:
        """Be no part of it any more."""
        if self._mine:
            self._ray.shutdown()

    def submit(self, instance_id: int, order: Order, folder: str, options: Mapping[str, Any], node_id: str) -> Any:
        """A new actor for an instance, on this node if it can have it; it lives until it is killed."""
        strategies = importlib.import_module("ray.util.scheduling_strategies")
        given = {
            **options,
            "name": _name(instance_id),
            "namespace": self._namespace,
            "lifetime": "detached",
            "max_restarts": 0,
            "scheduling_strategy": strategies.NodeAffinitySchedulingStrategy(node_id, soft=True)
            if node_id in self.nodes()
            else "DEFAULT",
        }
        return self._ray.remote(InstanceActor).options(**given).remote(order, folder)

    def find(self, instance_id: int) -> Any | None:
        """The actor of an instance, whoever made it; None when there is none, or it is dead."""
        try:
            return self._ray.get_actor(_name(instance_id), namespace=self._namespace)
        except ValueError:
            return None

    def kill(self, actor: Any) -> None:
        """End the actor's process, which frees its resources."""
        self._ray.kill(actor, no_restart=True)

    def call(self, actor: Any, method: str, *arguments: Any) -> Future[Any]:
        """What the method answers, some time; one of Ray's exceptions when the actor is dead."""
        return getattr(actor, method).remote(*arguments).future()

    def remove_folder(self, folder: str, node_id: str) -> Future[Any] | None:
        """Remove a folder on a node; None when that is gone."""
        if node_id not in self.nodes():
            return None
        strategies = importlib.import_module("ray.util.scheduling_strategies")
        strategy = strategies.NodeAffinitySchedulingStrategy(node_id, soft=False)
        task = self._ray.remote(remove_folder).options(num_cpus=0, scheduling_strategy=strategy, max_retries=0)
        return task.remote(folder).future()

    def nodes(self) -> dict[str, dict[str, float]]:
        """What each node that lives has in all, by its id."""
        return {node["NodeID"]: node["Resources"] for node in self._ray.nodes() if node["Alive"]}

    def free(self) -> dict[str, float]:
        """What is left of all nodes together."""
        return self._ray.available_resources()

    def is_death(self, error: BaseException) -> bool:
        """Whether the actor is gone for good: not when it only cannot be reached at the moment."""
        exceptions = self._ray.exceptions
        return isinstance(error, exceptions.RayActorError) and not isinstance(error, exceptions.ActorUnavailableError)


def _require_listening(address: str) -> None:
    """Ray itself would look for minutes. Raises OSError; ValueError when it is no address."""
    if address == "auto":
        return
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not separator or not port.isdigit():
        raise ValueError("an address is auto, HOST:PORT or ray://HOST:PORT")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()


def _name(instance_id: int) -> str:
    return f"instance-{instance_id}"


def _load() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise ProviderError("Ray is not installed: pip install 'pyworker[ray]'") from None
