"""Parts of an engine's core for tests without I/O: endpoints, workers, numbers."""

from __future__ import annotations

import functools
import itertools
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from pyworker.engine.core.derived import digest
from pyworker.engine.core.endpoints import Endpoint, Group
from pyworker.engine.core.numbers import Numbers
from pyworker.engine.core.parameters import EndpointParameters, GroupParameters, Launch
from pyworker.engine.core.registry import Registry
from pyworker.engine.core.workers import Worker

LAUNCH = Launch(worker=("true",))


@functools.cache
def rsa_key() -> rsa.RSAPrivateKey:
    """Made once a process: it takes up to a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def an_endpoint(registry: Registry, name: str = "default", **parameters: Any) -> Endpoint:
    """A new endpoint in the registry."""
    endpoint = Endpoint(len(registry.endpoints) + 1, name, EndpointParameters(**parameters))
    return registry.add_endpoint(endpoint)


def a_group(registry: Registry, endpoint: Endpoint, *, launch: Launch | None = None, **parameters: Any) -> Group:
    """A new workergroup in the registry; external unless there is a ``launch``."""
    group = Group(len(registry.groups()) + 1, endpoint, GroupParameters(launch=launch, **parameters))
    return registry.add_group(group)


def a_worker(registry: Registry, group: Group, mtoken: str = "secret", **fields: Any) -> Worker:
    """A new worker in the registry, which has not reported."""
    number = max((worker.number for worker in registry.all_workers), default=0) + 1
    return registry.add_worker(Worker(number, group, **fields), digest(mtoken))


def numbers(first: int = 1, count: int = 1_000_000) -> Numbers:
    """One block of numbers."""
    given = Numbers()
    given.give(first, count)
    return given


def nonces() -> Any:
    """Random bytes that are none: 1, 2, 3 ..."""
    count = itertools.count(1)
    return lambda size: next(count).to_bytes(size)
