"""``python -m benchmarks.engine``: what an engine costs, and how soon it sends a request that waited.

The engine runs on one core, what calls it on the other. Its workers are no more than their reports.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from benchmarks.engine_load import Calls, percentile, request_bytes
from benchmarks.engine_report import Line, table, write
from benchmarks.processes import Processes, Running, StartError, free_port, listens, wait_until
from benchmarks.proxies import ROOT
from benchmarks.system import cores, cpu_s, machine, pin, versions
from pyworker.client.management import issue_token
from pyworker.wire import TokenRequest

KEY = "benchmark"
WARM_S, MEASURE_S = 1.0, 5.0
ROUTE_CONNECTIONS, REPORT_CONNECTIONS = 32, 20
HELD_ROUNDS = 100


def main() -> int:
    """Measure, show, write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description="What an engine costs.")
    parser.add_argument("--no-file", action="store_true", help="show the table, write none")
    arguments = parser.parse_args()
    console, began, facts = Console(), datetime.datetime.now().astimezone(), machine()
    load_core, engine_core = cores()
    pin(load_core)
    try:
        lines = [line for workers in (100, 1000) for line in _measure(workers, engine_core)]
    except StartError as error:
        console.print(str(error), markup=False)
        return 1
    console.print(table(lines))
    if not arguments.no_file:
        folder = ROOT / "benchmarks" / "results"
        path = write(lines, folder, began.strftime("%Y-%m-%dT%H%M%S"), facts | versions())
        console.print(f"written to {path.relative_to(ROOT)}")
    return 0


def _measure(workers: int, core: int) -> Iterator[Line]:
    with tempfile.TemporaryDirectory(prefix="pyworker-benchmark-") as folder, Processes() as processes:
        port = free_port()
        command = [sys.executable, "-m", "pyworker.cli", "engine", "--port", str(port), "--data-dir", f"{folder}/data"]
        log = Path(folder) / "engine.log"
        engine = processes.start("engine", command, core=core, env={"PYWORKER_API_KEY": KEY}, cwd=ROOT, log=log)
        wait_until(lambda: listens(port), engine, "it listened")
        yield from asyncio.run(_Measurement(engine, port, workers).lines())


class _Measurement:
    """One engine with so many workers that report once a second."""

    def __init__(self, engine: Running, port: int, workers: int) -> None:
        self._pids = [engine.process.pid]
        self._port = port
        self._workers = workers

    async def lines(self) -> list[Line]:
        tokens = await asyncio.to_thread(self._tokens)
        reports = [_report(number, token) for number, token in enumerate(tokens, 1)]
        reporting = asyncio.create_task(self._keep_reporting(reports))
        await asyncio.sleep(WARM_S + 1.0)
        lines = [await self._reports_alone(), await self._routes()]
        reporting.cancel()
        await asyncio.wait([reporting])
        return [*lines, *([await self._held(reports[0])] if self._workers == 100 else [])]

    def _tokens(self) -> list[str]:
        url = f"http://127.0.0.1:{self._port}"
        return [issue_token(url, KEY, TokenRequest("default")).mtoken for _ in range(self._workers)]

    async def _keep_reporting(self, reports: list[bytes]) -> None:
        """Every worker once a second, spread evenly over it."""
        turn = itertools.cycle(reports)
        connections = [await asyncio.open_connection("127.0.0.1", self._port) for _ in range(REPORT_CONNECTIONS)]
        due_s = time.perf_counter()
        while True:
            await asyncio.gather(*(_exchange(reader, writer, next(turn)) for reader, writer in connections))
            due_s += REPORT_CONNECTIONS / self._workers
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))

    async def _reports_alone(self) -> Line:
        began_s, used_s = time.perf_counter(), cpu_s(self._pids)
        await asyncio.sleep(MEASURE_S)
        share = (cpu_s(self._pids) - used_s) / (time.perf_counter() - began_s)
        limit = 0.5 if self._workers == 1000 else None
        return Line(f"{self._workers} workers reporting once a second", share, "of a core", at_most=limit)

    async def _routes(self) -> Line:
        asked = request_bytes("/route/", json.dumps({"endpoint": "default", "api_key": KEY, "cost": 1.0}).encode())
        calls = Calls(self._port, ROUTE_CONNECTIONS, lambda: asked, b'"url"')
        await calls.start()
        await asyncio.sleep(WARM_S)
        answers, used_s = calls.answers, cpu_s(self._pids)
        await asyncio.sleep(MEASURE_S)
        per_cpu_s = (calls.answers - answers) / (cpu_s(self._pids) - used_s)
        calls.stop()
        what = f"/route/ with tickets, {self._workers} workers that report meanwhile"
        return Line(what, per_cpu_s, "per CPU-s", at_least=3000.0 if self._workers == 100 else None)

    async def _held(self, report: bytes) -> Line:
        """How long after its worker's report of readiness a held request is answered; others are gone by then."""
        body = json.loads(report.partition(b"\r\n\r\n")[2])
        busy, free = (_status({**body, "error_msg": words}) for words in ("not now", ""))
        await asyncio.sleep(30.0)  # until all others count as gone
        worker = await asyncio.open_connection("127.0.0.1", self._port)
        client = await asyncio.open_connection("127.0.0.1", self._port)
        await _exchange(*worker, busy)
        asked = {"endpoint": "default", "api_key": KEY, "cost": 1.0, "wait": 30}
        times_s: list[float] = []
        for _ in range(HELD_ROUNDS):
            held = asyncio.create_task(_exchange(*client, request_bytes("/route/", json.dumps(asked).encode())))
            await asyncio.sleep(0.25)  # it is there; and an engine takes ten reports a second of one worker
            began_s = time.perf_counter()
            await _exchange(*worker, free)
            answered = await held
            times_s.append(time.perf_counter() - began_s)
            assert b'"url"' in answered, answered
            await _exchange(*worker, busy)
        p99_ms = percentile(times_s, 0.99) * 1000
        return Line("a held request, from its worker's readiness to its answer, p99", p99_ms, "ms", at_most=100.0)


def _report(number: int, mtoken: str) -> bytes:
    """What worker ``number`` reports: ready, and with little to do. It is at an address where nobody is."""
    return _status(
        {
            "id": number,
            "mtoken": mtoken,
            "url": f"http://10.0.{number // 250}.{number % 250 + 1}:3000",
            "version": "benchmark",
            "loadtime": 1.0,
            "max_perf": 1e9,
            "cur_load": 10.0,
            "new_load": 5.0,
            "rej_load": 0.0,
            "cur_perf": 5.0,
            "error_msg": "",
            "num_requests_working": 1,
            "num_requests_recieved": 10,
            "working_request_idxs": [],
            "additional_disk_usage": 0.0,
            "disk_usage": 1.0,
            "cur_capacity": 0,
            "max_capacity": 0,
        }
    )


def _status(report: object) -> bytes:
    return request_bytes("/worker_status/", json.dumps(report).encode())


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    return await reader.readexactly(length)


if __name__ == "__main__":
    sys.exit(main())
