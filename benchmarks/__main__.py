"""``python -m benchmarks [--quick] [--only NAME...]``: measure, show, write down."""

from __future__ import annotations

import argparse
import datetime
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.fake_engine import FakeEngine
from benchmarks.measure import FULL, QUICK, Budget, Measurement
from benchmarks.processes import Processes, StartError, free_port, listens, wait_until
from benchmarks.proxies import PROXIES, ROOT, Proxy, Site
from benchmarks.report import show, write
from benchmarks.results import Results
from benchmarks.system import cores, machine, pin, versions


def main() -> int:
    """Run the benchmark. The status is 130 when it was interrupted, 1 when it could not start."""
    arguments = _arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    console = Console()
    chosen = [proxy for proxy in PROXIES if not arguments.only or proxy.name in arguments.only]
    try:
        results = _measure(console, chosen, QUICK if arguments.quick else FULL, "quick" if arguments.quick else "full")
    except KeyboardInterrupt:
        console.print("interrupted; everything that was started has been ended")
        return 130
    except StartError as error:
        console.print(str(error), markup=False)
        return 1
    show(console, results)
    console.print(f"written to {write(results, ROOT / 'benchmarks' / 'results').relative_to(ROOT)}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed and memory, side by side.")
    parser.add_argument("--quick", action="store_true", help="about a minute, coarser figures")
    names = [proxy.name for proxy in PROXIES]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"some of: {', '.join(names)}")
    return parser.parse_args()


def _measure(console: Console, proxies: list[Proxy], budget: Budget, kind: str) -> Results:
    """Start everything, measure, and end everything."""
    began, began_s, facts = datetime.datetime.now().astimezone(), time.monotonic(), machine()
    load_core, proxy_core = cores()
    pin(load_core)
    with (
        tempfile.TemporaryDirectory(prefix="pyworker-benchmark-") as folder,
        FakeEngine() as engine,
        Processes() as processes,
    ):
        model_port = _start_model(processes, Path(folder), load_core, budget.stream_chunks)
        measurement = Measurement(Site(processes, engine, model_port, proxy_core, Path(folder)), proxies, budget)
        _carry_out(console, measurement)
    return Results(
        began=began.strftime("%Y-%m-%dT%H:%M:%S"),
        kind=kind,
        took_s=time.monotonic() - began_s,
        machine=facts,
        versions=versions(),
        rows=measurement.rows,
        memory=measurement.memory,
    )


def _start_model(processes: Processes, work: Path, core: int, chunks: int) -> int:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.model_server", str(port), str(chunks)]
    running = processes.start("model server", command, core=core, env={}, cwd=ROOT, log=work / "model-server.log")
    wait_until(lambda: listens(port), running, "it listened")
    return port


def _carry_out(console: Console, measurement: Measurement) -> None:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    steps = list(measurement.steps())
    with Progress(*columns, console=console, refresh_per_second=2, transient=True) as progress:
        task = progress.add_task("", total=len(steps))
        for step in steps:
            progress.update(task, description=step.title)
            step.do()
            progress.advance(task)


if __name__ == "__main__":
    sys.exit(main())
