"""Faults of the field, 1 to 8: when a worker says that it is ready, and when that it is not."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pyworker import LogAction
from pyworker.testing import FakeModel, FakeServer, answer, by_hand
from pyworker.worker.core.readiness import State
from tests.support.workers.handlers import Generate, payload
from tests.support.workers.rig import Rig, a_worker, until

LOADED = "infer server has started"
BROKEN = "Exception: corrupted model file"
LOG_ACTIONS = [(LogAction.ModelLoaded, LOADED), (LogAction.ModelError, BROKEN)]


@asynccontextmanager
async def a_worker_with_a_log(
    tmp_path: Path, *handlers: Generate, listening: bool = True, **given: Any
) -> AsyncGenerator[Rig]:
    """One whose model has not said yet that it is loaded."""
    given.setdefault("log_actions", LOG_ACTIONS)
    async with (
        FakeModel(log_path=tmp_path / "model.log", listening=listening) as model,
        a_worker(tmp_path, *handlers, model=model, wait=False, **given) as rig,
    ):
        yield rig


def one_request_a_round() -> Generate:
    """A benchmark of one warm-up and one measured request."""
    return Generate(benchmark_runs=1, concurrency=1)


def is_open(path: Path) -> bool:
    """Whether this process has the file open."""
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if fd.readlink() == path:
                return True
    return False


@pytest.fixture
def quick_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks after the model's health as fast as it can."""
    monkeypatch.setattr("pyworker.worker.warm_up.HEALTH_INTERVAL_S", 0.01)
    monkeypatch.setattr("pyworker.worker.warm_up.CHECK_AGAIN_S", 0.01)
    monkeypatch.setattr("pyworker.worker.warm_up.LOOK_AGAIN_S", 0.01)
    monkeypatch.setattr("pyworker.worker.warm_up.FIRST_PAUSE_S", 0.01)


async def test_a_port_that_opens_after_the_loaded_line_is_waited_for(tmp_path: Path) -> None:
    """Fault 1."""
    async with a_worker_with_a_log(tmp_path, listening=False, benchmark_handler=one_request_a_round()) as rig:
        rig.model.log(LOADED)
        await rig.state(State.LOADED)
        assert (await rig.post("/generate", payload())).status == 503
        assert not rig.model.requests
        await rig.model.listen()
        await rig.ready()
        assert not [report.error_msg for report in rig.engine.reports if report.error_msg]


async def test_a_loaded_line_written_in_two_pieces_is_seen(tmp_path: Path) -> None:
    """Fault 2."""
    async with a_worker_with_a_log(tmp_path) as rig:
        rig.model.log(LOADED[:10], end="")
        await rig.log_read(LOADED[:10])
        assert rig.runtime.readiness.state is State.STARTING
        rig.model.log(LOADED[10:])
        await rig.ready()


async def test_a_loaded_line_in_a_log_truncated_in_place_is_seen(tmp_path: Path) -> None:
    """Fault 2."""
    async with a_worker_with_a_log(tmp_path) as rig:
        rig.model.log("a first try")
        await rig.log_read("a first try")
        (tmp_path / "model.log").write_text(f"{LOADED}\n")
        await rig.ready()


async def test_a_loaded_line_written_to_a_log_that_was_just_renamed_is_seen(tmp_path: Path) -> None:
    """Fault 2."""
    async with a_worker_with_a_log(tmp_path) as rig:
        rig.model.log("loading")
        await rig.log_read("loading")
        with (tmp_path / "model.log").open("a") as held:
            (tmp_path / "model.log").rename(tmp_path / "model.log.1")
            rig.model.log("a new log")
            held.write(f"{LOADED}\n")
        await rig.ready()


async def test_two_loaded_lines_start_one_benchmark(tmp_path: Path) -> None:
    """Fault 3."""
    twice = [(LogAction.ModelLoaded, "infer"), *LOG_ACTIONS]
    async with a_worker_with_a_log(tmp_path, log_actions=twice, benchmark_handler=one_request_a_round()) as rig:
        rig.model.on("/generate", by_hand)
        rig.model.log(f"{LOADED}\n{LOADED}\nso much for the second")
        await rig.log_read("so much for the second")
        held = await rig.model.requests.next()
        rig.model.on("/generate")
        await held.answer({})
        await rig.ready()
        rig.model.log(f"{LOADED}\nso much for the third")
        await rig.log_read("so much for the third")
        assert (await rig.post("/generate", payload("the client's"))).status == 200
        asked = [request.json()["prompt"] for request in rig.model.requests]
        assert [prompt == "the client's" for prompt in asked] == [False, False, True]


async def test_an_error_line_during_the_benchmark_is_told_at_once(tmp_path: Path) -> None:
    """Fault 4."""
    async with a_worker_with_a_log(tmp_path, benchmark_handler=one_request_a_round()) as rig:
        rig.model.on("/generate", by_hand)
        rig.model.log(LOADED)
        asked = await rig.model.requests.next()
        rig.model.log(BROKEN)
        report = await rig.engine.reports.where(lambda report: report.error_msg)
        assert report.error_msg == BROKEN
        await asked.gone.wait()


async def test_requests_are_refused_while_the_worker_has_an_error(tmp_path: Path) -> None:
    """Fault 5."""
    async with a_worker_with_a_log(tmp_path) as rig:
        rig.model.log(LOADED)
        await rig.ready()
        rig.model.log(BROKEN)
        await rig.state(State.ERRORED)
        refused = await rig.post("/generate", payload())
        assert refused.status == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert (await rig.send("GET", "/pyworker/health")).status == 503
        assert not rig.model.requests
        await rig.settled()


@pytest.mark.usefixtures("quick_checks")
async def test_an_error_in_the_log_ends_when_the_health_url_stays_well(tmp_path: Path) -> None:
    """Fault 5."""
    async with a_worker_with_a_log(tmp_path, healthcheck_url="/health") as rig:
        rig.model.log(LOADED)
        await rig.ready()
        rig.model.log(BROKEN)
        await rig.engine.reports.where(lambda report: report.error_msg)
        await rig.ready()
        rig.engine.reports.clear()
        report = await rig.engine.reports.where(lambda report: report.state == "ready")
        assert report.error_msg == ""
        assert (await rig.post("/generate", payload())).status == 200


@pytest.mark.usefixtures("quick_checks")
async def test_without_a_health_url_an_error_ends_when_a_benchmark_request_is_answered(tmp_path: Path) -> None:
    """Fault 5."""
    async with a_worker_with_a_log(tmp_path, benchmark_handler=one_request_a_round()) as rig:
        rig.model.log(LOADED)
        await rig.ready()
        rig.model.on("/generate", answer(status=500))
        rig.model.log(BROKEN)
        await rig.state(State.ERRORED)
        rig.model.requests.clear()
        await rig.model.requests.at_least(2)
        assert rig.runtime.readiness.state is State.ERRORED
        rig.model.on("/generate")
        await rig.ready()


async def test_a_model_that_is_loaded_again_ends_the_error(tmp_path: Path) -> None:
    """Fault 5."""
    async with a_worker_with_a_log(tmp_path) as rig:
        rig.model.log(BROKEN)
        await rig.state(State.ERRORED)
        rig.model.log(LOADED)
        await rig.ready()


@pytest.mark.usefixtures("quick_checks")
async def test_a_model_that_stops_answering_its_health_url_makes_an_error_that_ends_when_it_answers(
    tmp_path: Path,
) -> None:
    """Fault 5."""
    async with a_worker(tmp_path, healthcheck_url="/health") as rig:
        rig.model.healthy = False
        report = await rig.engine.reports.where(lambda report: report.error_msg)
        assert "503" in (report.error_msg or "")
        rig.model.healthy = True
        await rig.ready()


@pytest.mark.usefixtures("quick_checks")
async def test_a_model_that_is_gone_is_noticed_by_the_first_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 5."""
    monkeypatch.setattr("pyworker.worker.warm_up.HEALTH_INTERVAL_S", 3600.0)
    async with a_worker(tmp_path, healthcheck_url="/health") as rig:
        await rig.model.stop_listening()
        assert (await rig.post("/generate", payload())).status == 502
        await rig.state(State.ERRORED)
        await rig.model.listen()
        await rig.ready()
        await rig.settled(errored=1)


@pytest.mark.usefixtures("quick_checks")
async def test_a_model_without_a_health_url_that_is_gone_is_noticed_without_a_request(tmp_path: Path) -> None:
    """Fault 5: its port is looked at now and then."""
    async with a_worker(tmp_path) as rig:
        await rig.model.stop_listening()
        await rig.state(State.ERRORED)
        await rig.model.listen()
        await rig.ready()


@pytest.mark.usefixtures("quick_checks")
async def test_who_waits_for_a_line_of_the_log_is_reminded_of_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pyworker.worker.warm_up.REMIND_S", 0.01)
    async with a_worker_with_a_log(tmp_path) as rig:
        await until(lambda: "now for a line in" in caplog.text)
        assert repr(LOADED) in caplog.text
        rig.model.log(LOADED)
        await rig.ready()


@pytest.mark.usefixtures("quick_checks")
async def test_who_waits_for_a_model_that_does_not_answer_is_reminded_of_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pyworker.worker.warm_up.REMIND_S", 0.01)
    async with a_worker_with_a_log(tmp_path) as rig:
        await rig.model.stop_listening()
        rig.model.log(LOADED)
        await until(lambda: "now for the model server's port to be well: the model server at" in caplog.text)
        await rig.model.listen()
        await rig.ready()


async def test_ready_is_told_at_once(tmp_path: Path) -> None:
    """Fault 6: the next report by the clock would come in an hour."""
    async with a_worker_with_a_log(tmp_path, settings={"report_interval_s": 3600.0}) as rig:
        rig.model.log(LOADED)
        report = await rig.engine.reports.where(lambda report: report.state == "ready")
        assert report.loadtime
        assert report.max_perf


async def test_an_error_is_told_at_once(tmp_path: Path) -> None:
    """Fault 6."""
    async with a_worker_with_a_log(tmp_path, settings={"report_interval_s": 3600.0}) as rig:
        rig.model.log(LOADED)
        await rig.ready()
        rig.model.log(BROKEN)
        report = await rig.engine.reports.where(lambda report: report.error_msg)
        assert report.state == "error"
        assert report.loadtime  # it was ready once: that is not taken back


async def test_a_worker_without_log_and_health_url_is_ready_when_the_port_is_open(tmp_path: Path) -> None:
    """Fault 6: nothing is waited for that need not be."""
    async with FakeModel(listening=False) as model, a_worker(tmp_path, model=model, wait=False) as rig:
        page = (await rig.send("GET", "/pyworker/ready")).json()
        assert not page["ready"]
        assert "port" in page["waiting_for"]
        await model.listen()
        await rig.ready()


async def test_a_log_left_by_an_earlier_run_makes_nobody_ready(tmp_path: Path) -> None:
    """Fault 7."""
    (tmp_path / "model.log").write_text(f"{LOADED}\n")
    os.utime(tmp_path / "model.log", (1, 1))
    async with a_worker_with_a_log(tmp_path) as rig:
        await until(lambda: is_open(tmp_path / "model.log"), "the log is open")
        rig.model.log("loading anew")
        await rig.log_read("loading anew")
        assert rig.runtime.readiness.state is State.STARTING
        rig.model.log(LOADED)
        await rig.ready()


async def test_a_health_url_on_another_port_that_is_not_up_yet_is_waited_for(tmp_path: Path) -> None:
    """Fault 8."""
    async with FakeServer(listening=False) as health:
        health.on("/live", answer(status=503))
        async with a_worker_with_a_log(tmp_path, Generate(health=f"{health.url}/live")) as rig:
            rig.model.log(LOADED)
            await rig.state(State.LOADED)
            await health.listen()
            await health.requests.next()
            assert rig.runtime.readiness.state is State.LOADED
            health.on("/live", answer("well"))
            await rig.ready()


async def test_who_asks_why_not_yet_is_told_what_is_waited_for(tmp_path: Path) -> None:
    """The page behind all of these."""
    async with a_worker_with_a_log(tmp_path, listening=False) as rig:
        rig.model.log("reading weights, 10%")
        await rig.log_read("10%")
        page = (await rig.send("GET", "/pyworker/ready")).json()
        assert page["state"] == "starting"
        assert str(tmp_path / "model.log") in page["waiting_for"]
        assert page["model_log_last_lines"] == ["reading weights, 10%"]
        rig.model.log(LOADED)
        await until(lambda: "port" in rig.runtime.readiness.waiting_for)
