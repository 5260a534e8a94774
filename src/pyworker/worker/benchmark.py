"""Runs the benchmark against the model, and keeps its score where a restart finds it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import math
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pyworker.errors import BenchmarkFailed
from pyworker.worker.core.benchmark import Plan, Round, capacity_per_s, fingerprint
from pyworker.worker.core.ledger import valid_workload
from pyworker.worker.routes import Route

__all__ = ["Benchmark", "ScoreStore"]

log = logging.getLogger("pyworker.benchmark")

_GPUS = Path("/proc/driver/nvidia/gpus")


class ScoreStore:
    """One small JSON file a fingerprint in ``folder``. A disk that fails costs a benchmark, nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, name: str) -> float | None:
        """The capacity (workload/s) kept under this fingerprint, if any."""
        try:
            capacity = json.loads((self._folder / f"{name}.json").read_text())["capacity_per_s"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return float(capacity) if isinstance(capacity, int | float) and 0 < capacity < math.inf else None

    def save(self, name: str, capacity: float) -> None:
        """Keep it; a reader never sees half a file."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            temporary = self._folder / f"{name}.{os.getpid()}.tmp"
            with open(temporary, "w", opener=_for_nobody_else, encoding="utf-8") as file:
                json.dump({"capacity_per_s": capacity, "measured_at": time.time()}, file)
            temporary.replace(self._folder / f"{name}.json")
        except OSError as error:
            log.warning("the benchmark's score cannot be kept in %s: %s", self._folder, error)


def _for_nobody_else(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class Benchmark:
    """The benchmark of one route. ``progress`` says in words how far it is."""

    def __init__(self, route: Route, plan: Plan, store: ScoreStore, model_server_url: str) -> None:
        self.route = route
        self.progress = ""
        self._plan = plan
        self._store = store
        self._model_server_url = model_server_url
        self._measured: float | None = None

    async def capacity_per_s(self) -> float:
        """Workload/s: measured, or kept from an earlier start; then one request shows that the model works.

        Raises BenchmarkFailed.
        """
        name = await asyncio.to_thread(self._fingerprint)
        kept = self._measured or await asyncio.to_thread(self._store.load, name)
        if kept is not None:
            self.progress = "one request, its score is known"
            await self._warm_up()
            log.info("benchmark skipped: its score is known, %.6g workload/s", kept)
            return kept
        self._measured = await self._measure()
        await asyncio.to_thread(self._store.save, name, self._measured)
        return self._measured

    async def _measure(self) -> float:
        plan = self._plan
        if plan.warm_up:
            self.progress = "warming up"
            await self._warm_up()
        rounds: list[Round] = []
        for number in range(1, plan.runs + 1):
            self.progress = f"round {number} of {plan.runs}, {plan.concurrency} requests at once"
            log.info("benchmark: %s", self.progress)
            rounds.append(await self._round())
        capacity = capacity_per_s(rounds)
        failed = sum(len(round_.failures) for round_ in rounds)
        log.info("benchmark: capacity is %.6g workload/s, %d requests failed", capacity, failed)
        return capacity

    async def _warm_up(self) -> None:
        probe = await self.route.probe()
        if probe.failure:
            raise BenchmarkFailed(f"the benchmark's first request failed: {probe.failure}")

    async def _round(self) -> Round:
        began_s = time.monotonic()
        probes = await asyncio.gather(*(self.route.probe() for _ in range(self._plan.concurrency)))
        took_s = time.monotonic() - began_s
        for probe in probes:
            if not valid_workload(probe.workload):
                raise BenchmarkFailed(
                    f"the workload of a benchmark payload of {self.route.endpoint} is {probe.workload}"
                )
        done = sum(probe.workload for probe in probes if not probe.failure)
        return Round(done, took_s, [probe.failure for probe in probes if probe.failure])

    def _fingerprint(self) -> str:
        parts: list[str | bytes] = [self.route.endpoint, self._model_server_url, repr(self._plan), str(os.cpu_count())]
        sources = [source for source in self.route.sources if source is not None]
        for source in sources:
            parts += _name(source)
        return fingerprint([*parts, *_code(sources), *_gpus()])


def _kind(thing: object) -> Any:
    """The class or function that has the code."""
    return thing if inspect.isclass(thing) or inspect.isroutine(thing) else type(thing)


def _name(thing: object) -> list[str]:
    """What names a handler or function, and a handler's fields."""
    parts: list[str] = [_kind(thing).__qualname__]
    if hasattr(thing, "__dataclass_fields__") and not inspect.isclass(thing):
        named = sorted(vars(thing).items())
        parts += [f"{name}={value!r}" for name, value in named if isinstance(value, int | float | str)]
    return parts


def _code(things: Iterable[object]) -> Iterable[str | bytes]:
    """The modules of the folders that these stand in: what counts workload may be a module beside."""
    folders: set[Path] = set()
    for thing in things:
        with contextlib.suppress(TypeError):  # it is built in
            file = inspect.getsourcefile(_kind(thing))
            folders |= {Path(file).parent} if file else set()
    for folder in sorted(folders):
        for path in sorted(folder.glob("*.py")):
            with contextlib.suppress(OSError):
                yield path.name
                yield path.read_bytes()


def _gpus() -> Iterable[str]:
    """The models of the machine's GPUs."""
    for information in sorted(_GPUS.glob("*/information")):
        try:
            yield information.read_text().partition("\n")[0]
        except OSError:
            continue
