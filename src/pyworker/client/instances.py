"""Engines that have a name: where each routes requests, and where its management calls and root certificate lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pyworker.errors import BadRequest

__all__ = ["INSTANCES", "Instance", "instance_of"]


@dataclass(frozen=True)
class Instance:
    """Addresses without a slash at the end. ``is_ours``: the account's key opens ``/route/`` too."""

    engine_url: str
    web_url: str
    is_ours: bool = False


INSTANCES: Final = {
    "prod": Instance("https://run.vast.ai", "https://console.vast.ai"),
    "alpha": Instance("https://run-alpha.vast.ai", "https://alpha-server.vast.ai"),
    "candidate": Instance("https://run-candidate.vast.ai", "https://candidate-server.vast.ai"),
    "local": Instance("http://localhost:8080", "http://localhost:8080", is_ours=True),
}


def instance_of(name: str) -> Instance:
    """By name, or an engine of one's own by its address. Raises BadRequest naming those there are."""
    if name.startswith(("http://", "https://")):
        return Instance(name.rstrip("/"), name.rstrip("/"), is_ours=True)
    if name not in INSTANCES:
        raise BadRequest(f"there is no instance {name!r}; there is {', '.join(INSTANCES)}, or an address")
    return INSTANCES[name]
