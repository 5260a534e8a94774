"""The benchmark of a worker by declaration: what is sent, what is counted, and what goes wrong."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyworker import BenchmarkConfig, HandlerConfig, LogActionConfig
from pyworker.testing import FakeModel
from pyworker.worker.core.readiness import State
from tests.support.workers.handlers import Generate, Prompt
from tests.support.workers.rig import Rig, a_declared_worker


@pytest.fixture(autouse=True)
def _try_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyworker.worker.warm_up.FIRST_PAUSE_S", 0.01)


def sent(rig: Rig) -> list[Any]:
    """What the model got so far."""
    return [request.json() for request in rig.model.requests]


def numbered() -> Callable[[], dict[str, Any]]:
    numbers = itertools.count(1)
    return lambda: {"n": next(numbers)}


def numbered_async() -> Callable[[], Any]:
    make = numbered()

    async def later() -> dict[str, Any]:
        await asyncio.sleep(0)
        return make()

    return later


@pytest.mark.parametrize("make", [numbered, numbered_async], ids=["sync", "async"])
async def test_a_generator_makes_each_request_another(tmp_path: Path, make: Callable[[], Any]) -> None:
    """Fault 9."""
    benchmark = BenchmarkConfig(generator=make(), runs=2, concurrency=3)
    config = HandlerConfig(
        route="/g",
        allow_parallel_requests=True,
        benchmark_config=benchmark,
        workload_calculator=lambda p: p["n"],
        request_parser=lambda r: r["input"],  # for what clients send: the benchmark's is the model's already
    )
    async with a_declared_worker(tmp_path, config) as rig:
        assert sorted(payload["n"] for payload in sent(rig)) == [1, 2, 3, 4, 5, 6, 7]
        assert rig.runtime.books.ledger.capacity_per_s > 0


async def test_a_dataset_goes_round_without_a_warm_up(tmp_path: Path) -> None:
    benchmark = BenchmarkConfig(dataset=[{"n": 1}, {"n": 2}], runs=3, do_warmup=False)
    async with a_declared_worker(tmp_path, HandlerConfig(route="/g", benchmark_config=benchmark)) as rig:
        assert [payload["n"] for payload in sent(rig)] == [1, 2, 1]  # serial: one at a time


async def test_the_payload_classs_own_payloads_are_sent(tmp_path: Path) -> None:
    config = HandlerConfig(route="/g", payload_class=Prompt, benchmark_config=BenchmarkConfig(runs=1))
    async with a_declared_worker(tmp_path, config) as rig:
        assert all(payload["prompt"].startswith("benchmark prompt") for payload in sent(rig))


async def test_a_dataset_goes_through_the_payload_class(tmp_path: Path) -> None:
    benchmark = BenchmarkConfig(dataset=[{"prompt": "p", "ignored": 1}], runs=1)
    config = HandlerConfig(route="/g", payload_class=Prompt, benchmark_config=benchmark)
    async with a_declared_worker(tmp_path, config) as rig:
        assert sent(rig)[0] == {"prompt": "p", "max_response_tokens": 10}


@pytest.mark.parametrize("benchmark", [BenchmarkConfig(runs=1), BenchmarkConfig(dataset=[{"prompt": "p"}], runs=1)])
async def test_a_handler_class_is_benchmarked(tmp_path: Path, benchmark: BenchmarkConfig) -> None:
    config = HandlerConfig(route="/here", handler_class=Generate, benchmark_config=benchmark)
    async with a_declared_worker(tmp_path, config) as rig:
        assert [request.path for request in rig.model.requests] == ["/generate"] * 2


async def test_a_function_is_benchmarked(tmp_path: Path) -> None:
    called: list[int] = []

    async def work(n: int) -> int:
        called.append(n)
        await asyncio.sleep(0.001)
        return n

    benchmark = BenchmarkConfig(dataset=[{"n": n} for n in range(9)], concurrency=4, runs=2)
    config = HandlerConfig(route="/w", remote_function=work, allow_parallel_requests=True, benchmark_config=benchmark)
    async with a_declared_worker(tmp_path, config, model_server_url=None) as rig:
        assert sorted(called) == list(range(9))
        assert 0 < rig.runtime.books.ledger.capacity_per_s <= 4 * 100 / 0.001


async def test_a_generator_is_asked_for_one_payload_at_a_time(tmp_path: Path) -> None:
    asked = threading.Lock()

    def make() -> dict[str, Any]:
        assert asked.acquire(blocking=False)
        time.sleep(0.001)
        asked.release()
        return {}

    benchmark = BenchmarkConfig(generator=make, runs=1, concurrency=5)
    config = HandlerConfig(route="/g", allow_parallel_requests=True, benchmark_config=benchmark)
    async with a_declared_worker(tmp_path, config) as rig:
        assert len(rig.model.requests) == 6


def raising() -> dict[str, Any]:
    raise RuntimeError("no words left")


def nothing() -> Any:
    return None


@pytest.mark.parametrize(
    ("generator", "said"),
    [
        (raising, "the benchmark of /g: RuntimeError: no words left"),
        (nothing, "gave a NoneType; it must give a dict"),
        (lambda: {"set": {1}.__iter__()}, "the benchmark of /g"),
    ],
    ids=["raises", "nothing", "no JSON"],
)
async def test_a_generator_that_fails_is_reported(tmp_path: Path, generator: Any, said: str) -> None:
    """Fault 12."""
    config = HandlerConfig(route="/g", benchmark_config=BenchmarkConfig(generator=generator))
    async with a_declared_worker(tmp_path, config, wait=False) as rig:
        report = await rig.engine.reports.where(lambda report: report.error_msg)
        assert said in (report.error_msg or "")
        await rig.state(State.ERRORED)


async def test_a_payload_that_the_function_does_not_take_is_reported(tmp_path: Path) -> None:
    async def work(n: int) -> int:
        return n

    benchmark = BenchmarkConfig(dataset=[{"m": 1}])
    config = HandlerConfig(route="/w", remote_function=work, benchmark_config=benchmark)
    async with a_declared_worker(tmp_path, config, model_server_url=None, wait=False) as rig:
        report = await rig.engine.reports.where(lambda report: report.error_msg)
        assert "'n': 'missing parameter'" in (report.error_msg or "")


async def test_why_a_function_failed_is_reported(tmp_path: Path) -> None:
    async def work() -> None:
        raise OSError("no GPU here")

    config = HandlerConfig(route="/w", remote_function=work, benchmark_config=BenchmarkConfig(dataset=[{}]))
    async with a_declared_worker(tmp_path, config, model_server_url=None, wait=False) as rig:
        report = await rig.engine.reports.where(lambda report: report.error_msg)
        assert "OSError: no GPU here" in (report.error_msg or "")


async def test_another_dataset_is_another_benchmark(tmp_path: Path) -> None:
    """Fault 11: the score of one is not that of the other."""

    async def requests_of(*numbers: int) -> int:
        benchmark = BenchmarkConfig(dataset=[{"n": number} for number in numbers], runs=1, concurrency=1)
        async with a_declared_worker(
            tmp_path, HandlerConfig(route="/g", benchmark_config=benchmark), model=model
        ) as rig:
            taken = len(rig.model.requests)
            rig.model.requests.clear()
            return taken

    async with FakeModel() as model:
        assert await requests_of(1) == 2
        assert await requests_of(1) == 1  # its score is known
        assert await requests_of(2) == 2


async def test_without_a_benchmark_capacity_is_learned_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_declared_worker(tmp_path, HandlerConfig(route="/g"), fixed_throughput=None) as rig:
        assert "the capacity is learned from the requests served" in caplog.text
        assert (await rig.post("/g", {})).status == 200
        assert rig.runtime.books.ledger.capacity_per_s > 0


async def test_the_log_says_when_it_is_loaded_and_errored(tmp_path: Path) -> None:
    said = LogActionConfig(on_load=["Application startup complete."], on_error=["CUDA out of memory"], on_info=["Down"])
    async with (
        FakeModel(log_path=tmp_path / "model.log") as model,
        a_declared_worker(tmp_path, HandlerConfig(route="/g"), model=model, log_action_config=said, wait=False) as rig,
    ):
        model.log("INFO Downloading shards")
        await rig.log_read("Downloading")
        assert rig.runtime.readiness.state is State.STARTING
        model.log("INFO: Application startup complete.")
        await rig.ready()
        model.log("torch.cuda: CUDA out of memory")
        await rig.state(State.ERRORED)
        assert (await rig.post("/g", {})).status == 503


@pytest.mark.parametrize(
    ("config", "handler"),
    [
        ({"model_healthcheck_url": "/up"}, {}),
        ({}, {"healthcheck": "/up"}),
        ({}, {"healthcheck": "/up", "handler_class": Generate}),
    ],
    ids=["worker", "handler", "handler class"],
)
async def test_the_health_url_decides(tmp_path: Path, config: Any, handler: Any) -> None:
    async with (
        FakeModel(health_path="/up", healthy=False) as model,
        a_declared_worker(tmp_path, HandlerConfig(route="/g", **handler), model=model, wait=False, **config) as rig,
    ):
        await model.health_checks.at_least(1)
        assert rig.runtime.readiness.state is State.STARTING
        model.healthy = True
        await rig.ready()
