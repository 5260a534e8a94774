"""Where a worker that would begin to serve is handed to somebody else; and who is told when it has begun.

Workers call ``start_server`` at module level, some inside a running event loop. So whoever wants a worker's parts
without its serving lets the worker's file run, and takes its place at this one door.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp import web

    from pyworker.backend import Backend

__all__ = ["Serve", "Served", "replacement", "served", "served_by", "tell_when_served"]

Serve = Callable[["Backend", "list[web.AbstractRouteDef]", Mapping[str, Any]], None]
"""Backend, routes, and the keywords of ``start_server``."""

Served = Callable[["Backend", "list[web.AbstractRouteDef]", int], None]
"""Backend, routes, and the port that it listens on."""

_in_place: list[Serve] = []  # the last one counts; for all threads, since none of them may serve for real
_told: list[Served] = []


@contextlib.contextmanager
def served_by(serve: Serve) -> Generator[None]:
    """While the block runs, ``start_server`` calls ``serve`` and does nothing else."""
    _in_place.append(serve)
    try:
        yield
    finally:
        _in_place.remove(serve)


def replacement() -> Serve | None:
    """What to call instead of serving; None: serve."""
    return _in_place[-1] if _in_place else None


def tell_when_served(tell: Served) -> None:
    """Call this each time that a worker has begun to serve in this process."""
    _told.append(tell)


def served(backend: Backend, routes: list[web.AbstractRouteDef], port: int) -> None:
    """A worker has begun to serve."""
    for tell in _told:
        tell(backend, routes, port)
