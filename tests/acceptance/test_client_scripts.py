"""hello_world's client.py and test_load.py, and the import paths of older ones, as processes."""

from __future__ import annotations

import asyncio
import re
import signal
import ssl
import sys

import pytest

import lib.test_harness
import lib.test_utils
from pyworker.errors import EngineRefused
from pyworker.testing import FakeRequest, FakeServer, answer, by_hand, free_port, stream
from tests.support.commands import run, running
from tests.support.engines import API_KEY, ReportingWorker, a_fleet, an_engine
from utils.endpoint_util import Endpoint
from utils.ssl import get_cert_file_path

CLIENT = (sys.executable, "-m", "workers.hello_world.client")
LOAD = (sys.executable, "-m", "workers.hello_world.test_load")
KEY = {"PYWORKER_API_KEY": API_KEY}


async def test_the_client_asks_once_by_each_route_and_prints_the_tokens() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        events = [f'data: {{"token": "{word} "}}\n\n' for word in ("one", "two")] + [
            'data: {"finish_reason": "stop"}\n\n'
        ]
        worker.on("/generate", worker.checked(answer({"response": "A proxy is a go-between."})))
        worker.on("/generate_stream", worker.checked(stream(events)))
        ended = await run(*CLIENT, "-k", API_KEY, "-e", "default", "--engine", engine.url)
        assert (ended.status, ended.err) == (0, "")
        assert ended.out == "/generate:\nA proxy is a go-between.\n\n/generate_stream:\none two \n"


async def test_the_client_says_what_the_endpoint_has_against_a_request() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/generate", answer({"error": "no"}, status=422))
        ended = await run(*CLIENT, "-e", "default", "--engine", engine.url, env=KEY)
        assert ended.status == 1
        assert '/generate answers 422: {"error":"no"}' in ended.err


@pytest.mark.parametrize("script", [CLIENT, LOAD], ids=["client", "load"])
async def test_without_an_engine_or_a_key_the_next_step_is_told(script: tuple[str, ...]) -> None:
    ended = await run(*script, "-e", "default", "--engine", f"http://127.0.0.1:{free_port()}", env=KEY)
    assert ended.status == 1
    assert "pyworker engine" in ended.err
    ended = await run(*script, "-e", "default")
    assert ended.status == 1
    assert "PYWORKER_API_KEY" in ended.err
    assert "Traceback" not in ended.err


async def test_the_load_test_sends_what_the_guide_says_and_sums_up() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join(report={"max_perf": 1e6})
        worker.on("/generate", worker.checked(answer({"response": "Hi"})))
        ended = await run(*LOAD, "-n", "5", "-rps", "50", "-k", API_KEY, "-e", "default", "--engine", engine.url)
        assert (ended.status, ended.err) == (0, "")
        assert re.search(r"^sent +5 in .*\nok +5\nerrors +0\n\n +p50 .*\nlatency +\d", ended.out)
        prompts = {request.json()["payload"]["prompt"] for request in _asked(worker)}
        assert len(prompts) == 5


async def test_failed_requests_are_counted_by_kind_and_make_the_status_1() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join(report={"max_perf": 1e6})
        worker.on("/generate", worker.checked(answer({"response": "Hi"})), answer({}, status=500))
        ended = await run(*LOAD, "-n", "3", "-rps", "20", "-e", "default", "--engine", engine.url, env=KEY)
        assert ended.status == 1
        assert re.search(r"^ok +1\nerrors +2\n +2  the worker answers 500$", ended.out, re.MULTILINE)


async def test_ctrl_c_sums_up_what_there_was() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join(report={"max_perf": 1e6})
        worker.on("/generate", worker.checked(answer({"response": "Hi"})), by_hand)
        args = ("-n", "1000", "-rps", "20", "-e", "default", "--engine", engine.url)
        async with running(*LOAD, *args, env=KEY) as command:
            while len(_asked(worker)) < 2:
                await worker.requests.next()
            command.signal(signal.SIGINT)
            ended = await command.ended()
        assert ended.status == 130
        assert re.search(r"^sent +\d+ in .*\nok +[01]\nerrors +0\nunfinished +\d+$", ended.out, re.MULTILINE)
        assert "Traceback" not in ended.err


def _asked(worker: ReportingWorker) -> list[FakeRequest]:
    return [request for request in worker.requests if request.path == "/generate"]


@pytest.mark.parametrize("args", [["-n", "0"], ["-rps", "0"], ["-rps", "nan"], ["-i", "mars"]])
async def test_a_wrong_argument_of_the_load_test_is_told(args: list[str]) -> None:
    ended = await run(*LOAD, "-k", API_KEY, "-e", "default", *args)
    assert ended.status == 2
    assert args[0] in ended.err


# --- older import paths ---


def test_the_command_line_has_the_guides_letters() -> None:
    args = lib.test_utils.test_args.parse_args(["-k", "key", "-e", "name", "-i", "alpha"])
    assert (args.api_key, args.endpoint_group_name, args.instance) == ("key", "name", "alpha")
    assert lib.test_utils.test_args.parse_args(["-e", "name", "-l"]).instance == "local"
    assert callable(lib.test_harness.run)


def test_a_long_answer_is_printed_without_its_middle(capsys: pytest.CaptureFixture[str]) -> None:
    lib.test_utils.print_truncate_res("short")
    lib.test_utils.print_truncate_res("a" * 1000 + "z" * 1000)
    short, long = capsys.readouterr().out.splitlines()
    assert short == "short"
    assert len(long) < 400
    assert (long[0], long[-1]) == ("a", "z")
    assert "1700 more" in long


def test_engines_have_names() -> None:
    assert Endpoint.get_autoscaler_server_url("local") == Endpoint.get_server_url("local") == "http://localhost:8080"
    assert Endpoint.get_autoscaler_server_url("prod") == "https://run.vast.ai"
    assert Endpoint.get_server_url("prod") == "https://console.vast.ai"


async def test_older_clients_find_an_endpoints_key_and_the_root_certificate() -> None:
    async with an_engine(endpoints=["llm"]) as engine:
        key = await asyncio.to_thread(Endpoint.get_endpoint_api_key, "llm", API_KEY, engine.url)
        assert (await engine.post("/route/", {"endpoint": "llm", "api_key": key}))[0] == 200
        assert await asyncio.to_thread(Endpoint.get_endpoint_info, "nope", API_KEY, engine.url) is None
        path = await asyncio.to_thread(get_cert_file_path, engine.url)
        assert ssl.create_default_context(cafile=path)


async def test_an_error_page_is_not_taken_for_the_root_certificate() -> None:
    async with FakeServer(default=answer("<html>")) as server:
        with pytest.raises(EngineRefused, match="not an engine's"):
            await asyncio.to_thread(get_cert_file_path, server.url)
