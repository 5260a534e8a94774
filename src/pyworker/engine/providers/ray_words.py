"""Resources as Ray counts them, and why an instance still waits for them, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pyworker.engine.core.parameters import Resources

__all__ = ["actor_options", "wanted", "why_waiting"]

_GB: Final = 1e9
_NEARLY: Final = 1e-6
_MEMORY: Final = "memory"


def actor_options(resources: Resources) -> dict[str, Any]:
    """The resources as arguments of an actor; memory in bytes."""
    return {
        "num_cpus": resources.cpus,
        "num_gpus": resources.gpus,
        "memory": int(resources.memory_gb * _GB),
        "resources": dict(resources.custom),
    }


def wanted(resources: Resources) -> dict[str, float]:
    """The resources by the names that Ray gives them, without those of which nothing is wanted."""
    named = {"CPU": resources.cpus, "GPU": resources.gpus, _MEMORY: resources.memory_gb * _GB, **resources.custom}
    return {name: amount for name, amount in named.items() if amount > 0}


def why_waiting(needs: Mapping[str, float], nodes: Sequence[Mapping[str, float]], free: Mapping[str, float]) -> str:
    """Why an instance that needs this is not placed: ``nodes`` have so much each, ``free`` is left of all together."""
    if not nodes:
        return "waits for a node: the cluster has none"
    most = {name: max(node.get(name, 0.0) for node in nodes) for name in needs}
    never = {name: most[name] for name in needs if most[name] + _NEARLY < needs[name]}
    if never:
        lacking = "; ".join(
            f"it needs {_shown(name, needs[name])}, the most is {_shown(name, never[name])}" for name in never
        )
        return f"no node can hold it: {lacking}. Lower launch.resources, or add a node"
    if not any(all(node.get(name, 0.0) + _NEARLY >= amount for name, amount in needs.items()) for node in nodes):
        return f"no node has all of {_all(needs)}. Lower launch.resources, or add a node"
    short = {name: free.get(name, 0.0) for name in needs if free.get(name, 0.0) + _NEARLY < needs[name]}
    if short:
        return "waits for " + ", ".join(
            f"{_shown(name, needs[name])} ({_shown(name, left)} free in the cluster)" for name, left in short.items()
        )
    return f"waits for a node with {_all(needs)} free"


def _all(needs: Mapping[str, float]) -> str:
    return ", ".join(_shown(name, amount) for name, amount in needs.items())


def _shown(name: str, amount: float) -> str:
    return f"{amount / _GB:.3g} GB of memory" if name == _MEMORY else f"{amount:g} {name}"
