"""How a worker opens and closes: what the environment says where its code does not, mistakes in its routes, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from pyworker import Backend, LogAction, PassThroughHandler
from pyworker.errors import ConfigurationError
from pyworker.settings import WorkerSettings
from pyworker.testing import FakeModel, WorkerProcess, by_hand
from pyworker.worker.core.readiness import State
from pyworker.worker.serve import running_worker
from tests.support.workers.handlers import Generate, GenerateStream, payload
from tests.support.workers.rig import a_worker, until

BROKEN = "tests/support/workers/broken"
ROOT = Path(__file__).parents[2]


def settings(folder: Path, **given: Any) -> WorkerSettings:
    place: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "http_port": 0, "unsecured": True, "drain_s": 0.05}
    return WorkerSettings(**{**place, **given}, state_dir=folder)


async def refusal(backend: Backend, routes: list[web.RouteDef], given: WorkerSettings) -> str:
    with pytest.raises(ConfigurationError) as refused:
        async with running_worker(backend, routes, given):
            pass
    return str(refused.value)


# --- what the code does not say -------------------------------------------------------------------


async def test_the_environment_names_the_model_server_and_its_log_where_the_code_does_not(tmp_path: Path) -> None:
    async with FakeModel(log_path=tmp_path / "model.log") as model:
        backend = Backend(fixed_throughput=1.0, log_actions=[(LogAction.ModelLoaded, "it is loaded")])
        given = settings(tmp_path, model_server_url=model.url + "/", model_log=str(model.log_path))
        async with running_worker(backend, backend.routes(PassThroughHandler("/generate")), given) as worker:
            readiness = worker.runtime.readiness
            assert readiness.state is State.STARTING
            model.log("it is loaded")
            await until(lambda: readiness.state is State.READY, "ready")
            async with backend.session.post("generate", json={}) as answered:
                assert answered.status == 200


async def test_a_worker_that_goes_by_its_health_reads_no_log(tmp_path: Path) -> None:
    async with FakeModel() as model:
        backend = Backend(readiness="health", fixed_throughput=1.0)
        given = settings(tmp_path, model_server_url=model.url, model_log=str(tmp_path / "never_written.log"))
        async with running_worker(backend, [], given) as worker:
            await until(lambda: worker.runtime.readiness.state is State.READY, "ready")


@pytest.mark.parametrize(
    ("backend", "given", "said"),
    [
        ({}, {}, ["give a model_server_url to WorkerConfig or Backend", "set MODEL_SERVER_URL"]),
        ({}, {"model_server_url": "127.0.0.1:5001"}, ["MODEL_SERVER_URL is '127.0.0.1:5001'"]),
        ({"readiness": "log"}, {"model_server_url": "http://127.0.0.1:1"}, ["give model_log_file", "set MODEL_LOG"]),
    ],
)
async def test_what_neither_says_is_named_with_both_remedies(
    tmp_path: Path, backend: dict[str, Any], given: dict[str, Any], said: list[str]
) -> None:
    reason = await refusal(Backend(**backend), [], settings(tmp_path, **given))
    assert [part for part in said if part not in reason] == []


@pytest.mark.parametrize(
    ("name", "said"),
    [("never_started.py", "ended without calling start_server"), ("nowhere.py", "set MODEL_SERVER_URL")],
)
async def test_a_file_that_serves_nothing_is_told_what_is_missing(name: str, said: str) -> None:
    command = ["-m", "pyworker.cli", "run", f"{BROKEN}/{name}"]
    async with WorkerProcess(command, env={"PYWORKER_DRAIN": "1"}, cwd=ROOT) as process:
        assert await process.ended() == 1
        output = "\n".join(process.output)
        assert said in output
        assert "Traceback" not in output
        assert ("did you mean PYWORKER_DRAIN_S?" in output) == (name == "nowhere.py")


# --- mistakes in the routes -----------------------------------------------------------------------


def not_mounted(_: Backend) -> web.RouteDef:
    return web.post("/js", Generate())  # pyright: ignore


def no_slash(backend: Backend) -> web.RouteDef:
    return web.post("js", backend.create_handler(Generate()))


def no_function(_: Backend) -> web.RouteDef:
    return web.post("/js", "generate")  # pyright: ignore


@pytest.mark.parametrize(
    ("route", "said"),
    [(not_mounted, "backend.create_handler("), (no_slash, 'must begin with "/"'), (no_function, "no function")],
)
async def test_a_route_that_cannot_be_is_told_what_to_do(
    tmp_path: Path, route: Callable[[Backend], web.RouteDef], said: str
) -> None:
    backend = Backend("http://127.0.0.1:1")
    assert said in await refusal(backend, [route(backend)], settings(tmp_path))


async def test_a_start_that_fails_late_leaves_nothing_open(tmp_path: Path) -> None:
    """Unclosed sockets and sessions are errors in these tests."""

    def lifecycle() -> None:
        raise LookupError("no such model")

    backend = Backend("http://127.0.0.1:1", lifecycle=lifecycle)
    with pytest.raises(LookupError):
        async with running_worker(backend, [], settings(tmp_path)):
            pass


async def test_a_taken_port_for_callbacks_names_its_variable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with FakeModel() as model, running_worker(Backend(model.url), [], settings(tmp_path, http_port=model.port)):
        pass
    assert "set WORKER_HTTP_PORT to a free port" in caplog.text


async def test_the_last_port_of_all_has_none_after_it_for_callbacks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        FakeModel() as model,
        running_worker(Backend(model.url), [], settings(tmp_path, port=65535, http_port=None)) as worker,
    ):
        assert worker.port == 65535
    assert "set WORKER_HTTP_PORT to a free one" in caplog.text


# --- slots, and the end ---------------------------------------------------------------------------


async def test_a_handler_at_two_routes_has_its_slots_once(tmp_path: Path) -> None:
    handler = PassThroughHandler("/generate", max_concurrency=1)

    def routes(backend: Backend) -> list[web.RouteDef]:
        return [web.post(path, backend.create_handler(handler)) for path in ("/one", "/two")]

    async with a_worker(tmp_path, Generate(route="/other"), routes=routes) as worker:
        lanes = [route.lane for route in worker.runtime.routes]
        assert lanes[1] is lanes[2]
        assert lanes[0] is not lanes[1]


async def test_an_authored_request_that_was_not_answered_at_the_limit_may_try_again_elsewhere(tmp_path: Path) -> None:
    async with FakeModel() as model, aiohttp.ClientSession() as http:
        model.on("/generate", by_hand)
        async with a_worker(tmp_path, Generate(), model=model) as worker:
            asked = asyncio.create_task(http.post(worker.url + "/generate", json=worker.envelope(payload())))
            await model.requests.next()
        async with await asked as response:
            assert (response.status, response.headers["Retry-After"].isdigit()) == (503, True)
            assert "error" in await response.json()


async def test_an_authored_stream_is_cut_at_the_limit(tmp_path: Path) -> None:
    async with FakeModel() as model, aiohttp.ClientSession() as http:
        model.on("/generate_stream", by_hand)
        async with a_worker(tmp_path, GenerateStream(), model=model) as worker:
            response = await _streaming(model, http, worker.url, worker.envelope(payload()))
            await worker.runtime.drain(0.01)
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
            await worker.settled(errored=1)


async def _streaming(
    model: FakeModel, http: aiohttp.ClientSession, url: str, envelope: dict[str, Any]
) -> aiohttp.ClientResponse:
    asked = asyncio.create_task(http.post(url + "/generate_stream", json=envelope))
    held = await model.requests.next()
    await held.send("data: one\n\n")
    response = await asked
    assert await response.content.readany() == b"data: one\n\n"
    return response
