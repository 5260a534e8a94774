"""Keeps every connection busy for as long as the plan says, and counts what falls into the window."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter

from benchmarks.load.connection import Connection, StreamConnection
from benchmarks.load.plan import Figures, Plan
from benchmarks.load.requests import Requests
from benchmarks.model_server import CHUNK_BYTES
from benchmarks.system import cpu_s, group_pids

__all__ = ["run"]

_PATHS = {"exchange": "/generate", "stream": "/generate_stream", "drop": "/generate_stream"}
_CONNECT_AGAIN_S = 0.1


async def run(plan: Plan) -> Figures:
    """Carry out a plan; ends after ``warm_s + measure_s`` at the latest."""
    requests = Requests(plan.auth, _PATHS[plan.mode], first_reqnum=plan.first_reqnum, payload_bytes=plan.payload_bytes)
    requests.issue(plan.tickets)
    return await _LOADS[plan.mode](plan, requests).figures()


class _Window:
    """The time between two looks at the clock and at the proxy's CPU time."""

    def __init__(self, group: int) -> None:
        self._pids = group_pids(group) if group else []
        self.open = False
        self.began_s = self.window_s = self.cpu_s = 0.0

    def begin(self) -> None:
        self.open = True
        self.began_s, self._cpu_began_s = time.perf_counter(), cpu_s(self._pids)

    def end(self) -> None:
        self.open = False
        self.window_s = time.perf_counter() - self.began_s
        self.cpu_s = cpu_s(self._pids) - self._cpu_began_s


class _Exchange:
    """Whole answers, one after another on every connection; the time of each is taken."""

    connection_class: type[Connection] = Connection

    def __init__(self, plan: Plan, requests: Requests) -> None:
        self._plan = plan
        self._requests = requests
        self._loop = asyncio.get_running_loop()
        self._window = _Window(plan.group)
        self._enough = asyncio.Event()
        self._connections: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._times_s: list[float] = []
        self._failures: Counter[str] = Counter()
        self._answers = 0

    async def figures(self) -> Figures:
        """Open the connections, wait until the window has passed, hang up."""
        for index in range(self._plan.connections):
            self._loop.call_later(self._opens_after_s(index), self._open)
        await asyncio.sleep(self._plan.warm_s)
        self._window.begin()
        try:
            async with asyncio.timeout(self._plan.measure_s):
                await self._enough.wait()
        except TimeoutError:
            pass
        self._end()
        return self._summary()

    def _end(self) -> None:
        self._window.end()
        self._enough.set()
        for connection in self._connections:
            connection.close()

    def _opens_after_s(self, index: int) -> float:  # noqa: ARG002 (streams spread over time)
        return 0.0

    def _open(self) -> None:
        task = self._loop.create_task(self._connect())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        while not self._enough.is_set():
            try:
                await self._loop.create_connection(lambda: self.connection_class(self), "127.0.0.1", self._plan.port)
                return
            except OSError:
                self._fail("refused")
                await asyncio.sleep(_CONNECT_AGAIN_S)

    def ready(self, connection: Connection) -> None:
        if self._enough.is_set():
            connection.close()
            return
        self._connections.add(connection)
        connection.send(self._requests.next())

    def answered(self, connection: Connection, status: int) -> None:
        if not self._window.open:
            return
        if status != 200:
            self._fail(str(status))
            return
        self._count(time.perf_counter() - connection.began_s)

    def received(self, connection: Connection, status: int, size_bytes: int, *, first: bool) -> None:
        """Not told by a Connection; StreamConnection tells it."""

    def lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if self._enough.is_set():
            return
        if connection.busy:
            self._fail("connection lost")
        self._open()

    def _count(self, time_s: float | None) -> None:
        if self._enough.is_set():
            return
        self._answers += 1
        if time_s is not None:
            self._times_s.append(time_s)
        if self._answers == self._plan.requests:
            self._enough.set()

    def _fail(self, why: str) -> None:
        if self._window.open:
            self._failures[why] += 1

    def _summary(self) -> Figures:
        centiles = statistics.quantiles(self._times_s, n=100) if len(self._times_s) > 1 else [0.0] * 99
        return Figures(
            window_s=self._window.window_s,
            cpu_s=self._window.cpu_s,
            answers=self._answers,
            p50_ms=centiles[49] * 1000,
            p99_ms=centiles[98] * 1000,
            failures=dict(self._failures),
        )


class _Streams(_Exchange):
    """Streams, begun one after another over ``warm_s`` so that they do not march in step; first chunks are timed."""

    connection_class = StreamConnection
    _received_bytes = 0

    def _opens_after_s(self, index: int) -> float:
        return self._plan.warm_s * index / self._plan.connections

    def answered(self, connection: Connection, status: int) -> None:  # noqa: ARG002 (whichever it was)
        if self._window.open and status == 200:
            self._count(None)

    def received(self, connection: Connection, status: int, size_bytes: int, *, first: bool) -> None:
        if not self._window.open:
            return
        if status != 200:
            self._fail(str(status))
            return
        self._received_bytes += size_bytes
        if first and connection.began_s >= self._window.began_s:
            self._times_s.append(time.perf_counter() - connection.began_s)

    def _end(self) -> None:
        now_s = time.perf_counter()
        waiting = [one for one in self._connections if isinstance(one, StreamConnection) and one.waits]
        self._times_s.extend(now_s - one.began_s for one in waiting)  # what they have waited so far, at least
        super()._end()

    def _summary(self) -> Figures:
        figures = super()._summary()
        figures.chunks = self._received_bytes / CHUNK_BYTES
        return figures


class _Drops(_Exchange):
    """Clients that go away: every second one before the answer begins, the others in mid-stream."""

    connection_class = StreamConnection
    _begun = 0

    def ready(self, connection: Connection) -> None:
        super().ready(connection)
        self._begun += 1
        if self._begun % 2:
            connection.close()

    def received(self, connection: Connection, status: int, size_bytes: int, *, first: bool) -> None:  # noqa: ARG002
        if status != 200:
            self._fail(str(status))
        connection.close()

    def lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if self._window.open:
            self._count(None)
        if not self._enough.is_set():
            self._open()


_LOADS: dict[str, type[_Exchange]] = {"exchange": _Exchange, "stream": _Streams, "drop": _Drops}
