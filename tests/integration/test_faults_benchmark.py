"""Faults of the field, 9 to 13: how a worker finds out what it can do."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from pyworker import EndpointHandler, PassThroughHandler
from pyworker.testing import FakeModel, answer, by_hand
from pyworker.worker.core.readiness import State
from tests.support.workers.handlers import Generate, Prompt, pass_generate, payload
from tests.support.workers.rig import Rig, a_worker


@pytest.fixture(autouse=True)
def _try_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyworker.worker.warm_up.FIRST_PAUSE_S", 0.01)


def measured(**given: Any) -> Generate:
    """Two rounds of two requests, after one for warming up."""
    return Generate(benchmark_runs=2, concurrency=2, **given)


async def reported_error(rig: Rig) -> str:
    """The first error that the engine is told."""
    report = await rig.engine.reports.where(lambda report: report.error_msg)
    return report.error_msg or ""


async def test_each_request_of_the_benchmark_is_another_one(tmp_path: Path) -> None:
    """Fault 9: a model's cache has nothing to answer."""
    async with a_worker(tmp_path, benchmark_handler=measured()) as rig:
        prompts = [request.json()["prompt"] for request in rig.model.requests]
        assert len(prompts) == 5
        assert len(set(prompts)) == 5


async def test_a_round_sends_its_requests_at_once(tmp_path: Path) -> None:
    """Fault 9: what is measured is what the model does with them beside each other."""
    async with a_worker(
        tmp_path, benchmark_handler=Generate(benchmark_runs=1, concurrency=7, do_warmup_benchmark=False), wait=False
    ) as rig:
        rig.model.on("/generate", by_hand)
        for request in await rig.model.requests.at_least(7):
            await request.answer({})
        await rig.ready()
        assert len(rig.model.requests) == 7


async def test_a_serial_handler_is_measured_one_request_at_a_time(tmp_path: Path) -> None:
    """Fault 9."""
    async with a_worker(tmp_path, benchmark_handler=measured(), allow_parallel_requests=False, wait=False) as rig:
        rig.model.on("/generate", by_hand)
        for number in (1, 2, 3):  # one to warm up, two rounds
            held = await rig.model.requests.next()
            assert len(rig.model.requests) == number
            await held.answer({})
        await rig.ready()


@pytest.mark.parametrize("workload", [float("nan"), float("inf"), -1.0])
async def test_a_benchmark_whose_workload_is_no_number_has_no_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workload: float
) -> None:
    """Faults 10 and 19."""

    def count_workload(_: Prompt) -> float:
        return workload

    monkeypatch.setattr(Prompt, "count_workload", count_workload)
    async with a_worker(tmp_path, benchmark_handler=measured(), wait=False) as rig:
        assert f"is {workload}" in await reported_error(rig)


async def test_a_benchmark_whose_requests_all_fail_has_no_score(tmp_path: Path) -> None:
    """Fault 10."""
    async with FakeModel() as model:
        model.on(
            "/generate", answer({}), answer(status=500), answer(status=500), answer(status=429), answer(status=404)
        )
        async with a_worker(tmp_path, benchmark_handler=measured(), model=model, wait=False) as rig:
            assert "the model server answered 500" in await reported_error(rig)
            assert not scores(tmp_path)
            model.on("/generate")
            await rig.ready()
            assert rig.runtime.books.ledger.capacity_per_s > 0
            assert len(scores(tmp_path)) == 1


async def test_a_score_of_zero_is_not_kept(tmp_path: Path) -> None:
    """Fault 10."""
    nothing = PassThroughHandler(
        "/generate", workload_calculator=lambda _: 0.0, benchmark_payload=dict, benchmark_runs=1, concurrency=1
    )
    async with a_worker(tmp_path, nothing, benchmark_handler=nothing, wait=False) as rig:
        assert "workload is 0" in await reported_error(rig)
        assert not scores(tmp_path)


def scores(tmp_path: Path) -> list[Path]:
    """The files that scores are kept in."""
    return list((tmp_path / "state").rglob("*.json"))


async def test_a_restart_finds_the_score_wherever_it_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 11."""
    async with FakeModel() as model:
        capacities: list[float] = []
        for folder in ("here", "there"):
            (tmp_path / folder).mkdir()
            monkeypatch.chdir(tmp_path / folder)
            model.requests.clear()
            async with a_worker(tmp_path, benchmark_handler=measured(), model=model) as rig:
                capacities.append(rig.runtime.books.ledger.capacity_per_s)
            assert not list((tmp_path / folder).iterdir())
        assert capacities[0] == capacities[1]
        assert len(model.requests) == 1  # that shows the model works


AUTHORS_MODULE = """
import dataclasses
from tests.support.workers.handlers import Generate, Prompt

class Counted(Prompt):
    def count_workload(self) -> float:
        return {workload}

@dataclasses.dataclass
class Handler(Generate):
    @classmethod
    def payload_cls(cls):
        return Counted
"""


@pytest.fixture
def _no_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "authors_worker", raising=False)


def handler_counting(tmp_path: Path, workload: str) -> EndpointHandler[Any]:
    """The handler of an author's module that counts workload so."""
    file = tmp_path / "authors_worker.py"
    file.write_text(AUTHORS_MODULE.format(workload=workload))
    spec = importlib.util.spec_from_file_location("authors_worker", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["authors_worker"] = module
    spec.loader.exec_module(module)
    return module.Handler(benchmark_runs=1, concurrency=1)


async def test_a_worker_that_counts_otherwise_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 11: a score in tokens says nothing about images."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "authors_worker", raising=False)
    async with FakeModel() as model:
        for workload, requests in (("1.0", 2), ("1.0", 1), ("1000.0", 2)):
            model.requests.clear()
            handler = handler_counting(tmp_path, workload)
            async with a_worker(tmp_path, benchmark_handler=handler, model=model):
                assert len(model.requests) == requests


@pytest.mark.usefixtures("_no_bytecode")
async def test_a_module_beside_the_worker_that_changes_has_it_measured_anew(tmp_path: Path) -> None:
    """Fault 11: the unit of workload may be counted there."""
    async with FakeModel() as model:
        for unit, requests in (("1", 2), ("1", 1), ("1000", 2)):
            model.requests.clear()
            handler = handler_counting(tmp_path, "1.0")
            (tmp_path / "tokens.py").write_text(f"UNIT = {unit}\n")
            async with a_worker(tmp_path, benchmark_handler=handler, model=model):
                assert len(model.requests) == requests


class FromNothing(Prompt):
    """Its data set is empty."""

    @classmethod
    def for_test(cls) -> FromNothing:
        return random.choice([])  # noqa: S311


class FromAFileThatIsNotThere(Prompt):
    """Its data set was not downloaded."""

    @classmethod
    def for_test(cls) -> FromAFileThatIsNotThere:
        raise FileNotFoundError("no prompts in /data/prompts.txt")


@pytest.mark.parametrize(
    ("payloads", "reason"), [(FromNothing, "IndexError"), (FromAFileThatIsNotThere, "/data/prompts.txt")]
)
async def test_a_benchmark_payload_that_cannot_be_made_is_named_to_the_engine(
    tmp_path: Path, payloads: type[Prompt], reason: str
) -> None:
    """Fault 12."""

    @dataclasses.dataclass
    class Handler(Generate):
        @classmethod
        def payload_cls(cls) -> type[Prompt]:
            return payloads

    async with a_worker(tmp_path, Handler(), benchmark_handler=Handler(), wait=False) as rig:
        error = await reported_error(rig)
        assert "Handler.make_benchmark_payload" in error
        assert reason in error
        assert (await rig.post("/generate", payload())).status == 503


async def test_a_pass_through_handlers_benchmark_payload_that_cannot_be_made_is_named_to_the_engine(
    tmp_path: Path,
) -> None:
    """Fault 12."""

    def make() -> dict[str, Any]:
        return random.choice([])  # noqa: S311

    handler = pass_generate(benchmark_payload=make)
    async with a_worker(tmp_path, handler, benchmark_handler=handler, wait=False) as rig:
        assert "benchmark_payload of /generate raised IndexError" in await reported_error(rig)


async def test_the_first_requests_are_let_in_while_the_capacity_is_unknown(tmp_path: Path) -> None:
    """Fault 13: without a benchmark it is learned from them."""
    async with a_worker(tmp_path, Generate(max_queue_time=10.0), fixed_throughput=None) as rig:
        assert rig.runtime.books.ledger.capacity_per_s == 0
        answers = await asyncio.gather(*(rig.post("/generate", payload()) for _ in range(3)))
        assert [answered.status for answered in answers] == [200] * 3
        await rig.settled(served=3)
        assert rig.runtime.books.ledger.capacity_per_s > 0


async def test_a_worker_without_benchmark_begins_with_one_request_at_a_time(tmp_path: Path) -> None:
    """Fault 13: and lets in one more with each request served."""
    async with a_worker(tmp_path, fixed_throughput=None) as rig:
        rig.model.on("/generate", by_hand)
        calls = [rig.begin("/generate", payload()) for _ in range(3)]
        first = await rig.model.requests.next()
        assert len(rig.model.requests) == 1
        await first.answer({})
        for held in (await rig.model.requests.at_least(3))[1:]:
            await held.answer({})
        assert [(await call).status for call in calls] == [200] * 3
        await rig.settled(served=3)


async def test_a_fixed_throughput_is_taken_at_its_word(tmp_path: Path) -> None:
    """Fault 13."""
    async with a_worker(tmp_path, fixed_throughput=250.0) as rig:
        report = await rig.engine.reports.where(lambda report: report.state == "ready")
        assert report.max_perf == 250.0
        assert not rig.model.requests


async def test_requests_during_the_benchmark_are_told_to_come_back(tmp_path: Path) -> None:
    """Fault 13: they would have spoilt it."""
    async with a_worker(tmp_path, benchmark_handler=measured(), wait=False) as rig:
        rig.model.on("/generate", by_hand)
        held = await rig.model.requests.next()
        assert rig.runtime.readiness.state is State.BENCHMARKING
        refused = await rig.post("/generate", payload())
        assert (refused.status, "Retry-After" in refused.headers) == (503, True)
        rig.model.on("/generate")
        await held.answer({})
        await rig.ready()
        await rig.settled()
