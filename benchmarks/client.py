"""``python -m benchmarks.client``: what a small request costs the process of our client.

It asks a real engine for a worker for each, and sends it there; the worker answers at once and checks nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import aiohttp
from rich.console import Console

from benchmarks.client_load import KINDS
from benchmarks.engine_report import Line, table, write
from benchmarks.processes import Processes, StartError, free_port, listens, wait_until
from benchmarks.proxies import ROOT
from benchmarks.system import cores, machine, versions
from pyworker.client.management import issue_token
from pyworker.wire import TokenRequest

KEY = "benchmark"
TARGET_PER_CPU_S = 2000.0
WHAT = {
    "together": "64 requests at a time",
    "alone": "one request after the other",
    "sync": "without async, 16 threads",
}


def main() -> int:
    """Measure, show, write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.client", description="What a client's request costs.")
    parser.add_argument("--no-file", action="store_true", help="show the table, write none")
    arguments = parser.parse_args()
    console, began, facts = Console(), datetime.datetime.now().astimezone(), machine()
    try:
        lines = _measure()
    except StartError as error:
        console.print(str(error), markup=False)
        return 1
    console.print(table(lines))
    if not arguments.no_file:
        path = write(
            lines, ROOT / "benchmarks" / "results", began.strftime("%Y-%m-%dT%H%M%S"), facts | versions(), "client"
        )
        console.print(f"written to {path.relative_to(ROOT)}")
    return 0


def _measure() -> list[Line]:
    client_core, other_core = cores()
    with tempfile.TemporaryDirectory(prefix="pyworker-benchmark-") as folder, Processes() as processes:
        engine_port, worker_port = free_port(), free_port()
        engine = [sys.executable, "-m", "pyworker.cli", "engine", "--port", str(engine_port)]
        commands = {
            engine_port: [*engine, "--data-dir", f"{folder}/data"],
            worker_port: [sys.executable, "-m", "benchmarks.model_server", str(worker_port), "1"],
        }
        for port, command in commands.items():
            log, env = Path(folder) / f"{port}.log", {"PYWORKER_API_KEY": KEY}
            running = processes.start(command[2], command, core=other_core, env=env, cwd=ROOT, log=log)
            wait_until(lambda port=port: listens(port), running, "it listened")
        return asyncio.run(_lines(f"http://127.0.0.1:{engine_port}", f"http://127.0.0.1:{worker_port}", client_core))


async def _lines(engine_url: str, worker_url: str, core: int) -> list[Line]:
    token = (await asyncio.to_thread(issue_token, engine_url, KEY, TokenRequest("default"))).mtoken
    report = {"id": 1, "mtoken": token, "url": worker_url, "loadtime": 1.0, "max_perf": 1e9, "error_msg": ""}
    reporting = asyncio.create_task(_keep_reporting(f"{engine_url}/worker_status/", report))
    try:
        return [
            Line(what, await asyncio.to_thread(_run, engine_url, kind, core), "per CPU-s", at_least=_target(kind))
            for kind, what in WHAT.items()
        ]
    finally:
        reporting.cancel()
        await asyncio.wait([reporting])


async def _keep_reporting(url: str, report: Mapping[str, object]) -> None:
    async with aiohttp.ClientSession() as http:
        while True:
            async with http.post(url, json=report) as response:
                response.raise_for_status()
            await asyncio.sleep(1.0)


def _run(engine_url: str, kind: str, core: int) -> float:
    pinned = [sys.executable, str(ROOT / "benchmarks" / "pinned.py"), str(core)]
    command = [*pinned, sys.executable, "-m", "benchmarks.client_load", engine_url, KEY, kind]
    return float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)  # noqa: S603


def _target(kind: str) -> float | None:
    assert kind in KINDS
    return TARGET_PER_CPU_S if kind == "together" else None


if __name__ == "__main__":
    sys.exit(main())
