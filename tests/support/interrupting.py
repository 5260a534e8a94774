"""Something happens to a coroutine at its first, second, third... suspension, until it gets through undisturbed."""

from __future__ import annotations

import asyncio
import functools
import types
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import Any

import pytest

from pyworker.worker.inbound.incoming import Incoming
from pyworker.worker.proxy import Proxy
from pyworker.worker.routes import Route

__all__ = ["Interrupter", "Interruption", "cancel", "cancel_as_it_goes_on", "suspensions"]

MOST_SUSPENSIONS = 200

Happening = Callable[[Any], None]


class Interruption:
    """Lets ``happen`` happen at suspension number ``at`` of the coroutine that it runs, from 1.

    ``happen`` gets what the coroutine waits for: a future, or None when it only lets others go first. ``happened`` says
    whether the coroutine came that far.
    """

    def __init__(self, at: int, happen: Happening) -> None:
        self.happened = False
        self._at = at
        self._happen = happen
        self._suspensions = 0

    @types.coroutine
    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Await the coroutine."""
        step = _sending(coroutine, None)
        while True:
            try:
                waits_for = step()
            except StopIteration as stop:
                return stop.value
            self._suspended(waits_for)
            try:
                result = yield waits_for
            except BaseException as error:  # noqa: BLE001 - it is passed on, whatever it is
                step = _throwing(coroutine, error)
            else:
                step = _sending(coroutine, result)

    def _suspended(self, waits_for: Any) -> None:
        self._suspensions += 1
        if self._suspensions == self._at:
            self.happened = True
            self._happen(waits_for)


class Interrupter:
    """Interrupts the next request that the proxy gets, when it has an Interruption."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.next: Interruption | None = None
        handle = Proxy.handle

        async def interrupted(proxy: Proxy, request: Incoming, route: Route) -> None:
            interruption, self.next = self.next, None
            if interruption is None:
                await handle(proxy, request, route)
            else:
                await interruption.run(handle(proxy, request, route))

        monkeypatch.setattr(Proxy, "handle", interrupted)


def suspensions() -> Iterator[int]:
    """1, 2, 3, and so on; in a long answer, where one await is like the next, in longer and longer steps."""
    at = 1
    while at < MOST_SUSPENSIONS:
        yield at
        at += 1 + at // 8
    raise AssertionError(f"not through after {at} suspensions")


def _throwing(coroutine: Coroutine[Any, Any, Any], error: BaseException) -> Callable[[], Any]:
    return lambda: coroutine.throw(error)


def _sending(coroutine: Coroutine[Any, Any, Any], result: Any) -> Callable[[], Any]:
    return lambda: coroutine.send(result)


def cancel(_waits_for: Any) -> None:
    """The task is cancelled while it waits."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


def cancel_as_it_goes_on(waits_for: Any) -> None:
    """The task is cancelled in the very moment in which what it waits for is there."""
    task = asyncio.current_task()
    assert task is not None
    if waits_for is None:
        asyncio.get_running_loop().call_soon(task.cancel)
    else:
        waits_for.add_done_callback(functools.partial(_cancel, task))


def _cancel(task: asyncio.Task[Any], _waited_for: Any) -> None:
    task.cancel()
