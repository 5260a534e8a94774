"""The command line as real processes."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import aiohttp
import pytest
from typer.testing import CliRunner

from pyworker.cli import app
from pyworker.testing import FakeServer, answer, by_hand, free_port, stream
from tests.support.commands import PYWORKER, engine_process, pyworker, running
from tests.support.engines import API_KEY, a_fleet, an_engine

KEY = {"PYWORKER_API_KEY": API_KEY}


async def test_there_is_help() -> None:
    ended = await pyworker("--help")
    assert (ended.status, ended.err) == (0, "")
    for command in ("engine", "run", "call", "worker"):
        assert re.search(rf"^\W+{command} ", ended.out, re.MULTILINE)


@pytest.mark.parametrize("command", [["engine"], ["worker", "token"], ["run"], ["call"]], ids=" ".join)
def test_every_commands_help_has_examples(command: list[str]) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"])
    assert shown.exit_code == 0
    assert "Examples" in shown.output
    assert f"pyworker {' '.join(command)} " in shown.output


async def test_the_version_is_told() -> None:
    ended = await pyworker("--version")
    assert ended.status == 0
    assert re.fullmatch(r"pyworker \d+\.\d+\.\d+\n", ended.out)


# --- engine ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_engine_serves_until_it_is_asked_to_end(number: signal.Signals) -> None:
    async with engine_process() as (command, said):
        async with aiohttp.ClientSession() as http, http.get(said["url"] + "/health") as response:
            assert response.status == 200
        command.signal(number)
        ended = await command.ended()
    assert (ended.status, ended.out) == (0, "")
    assert "\nending\n" in "\n" + ended.err
    assert re.search(r"^ended, and so have the workers that it started; what it knows is kept in /", ended.err, re.M)


async def test_an_engine_listens_on_loopback_and_says_where_and_with_which_key_once() -> None:
    async with running(*PYWORKER, "engine", "--port", "0", "--endpoint", "llm", "--endpoint", "images") as command:
        lines = [await command.line() for _ in range(6)]
        command.signal(signal.SIGTERM)
        rest = await command.ended()
    text = "\n".join(lines)
    url = re.search(r"^engine +(http://127\.0\.0\.1:\d+)$", text, re.MULTILINE)
    key = re.search(r"^api key +(\S{40,}) +\(shown only now\)$", text, re.MULTILINE)
    assert url
    assert key
    assert f"PYWORKER_ENGINE={url[1]} PYWORKER_API_KEY={key[1]}" in text
    assert "llm, images" in text
    assert key[1] not in rest.out + rest.err


async def test_a_key_that_was_given_is_not_shown() -> None:
    async with engine_process(env=KEY) as (command, said):
        assert said["api_key"] is None
        command.signal(signal.SIGTERM)
        ended = await command.ended()
        assert API_KEY not in ended.out + ended.err


async def test_a_port_that_is_taken_is_an_error_that_names_a_way_out() -> None:
    async with an_engine() as engine:
        ended = await pyworker("engine", "--port", engine.url.rpartition(":")[2])
    assert ended.status == 1
    assert "--port 0" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--allow-network", "everywhere"], "10.0.0.0/8"),
        (["--port", "99999"], "65535"),
        (["--endpoint", "a", "--endpoint", "a"], "used once"),
        (["--frobnicate"], "--frobnicate"),
    ],
)
async def test_a_wrong_option_is_told_without_a_traceback(args: list[str], said: str) -> None:
    ended = await pyworker("engine", "--port", "0", *args)
    assert ended.status in {1, 2}
    assert said in ended.err
    assert "Traceback" not in ended.err


# --- worker token ---


async def test_a_token_is_lines_for_a_workers_environment_which_the_engine_takes() -> None:
    async with an_engine() as engine:
        ended = await pyworker("worker", "token", "--engine", engine.url, "--endpoint", "default", env=KEY)
        assert ended.status == 0, ended.err
        variables = dict(line.split("=", 1) for line in ended.out.splitlines())
        assert list(variables) == ["REPORT_ADDR", "MASTER_TOKEN", "PYWORKER_TICKET_KEY", "PYWORKER_TICKET_KEY_ID"]
        assert variables["REPORT_ADDR"] == engine.url
        report = {"id": 1, "mtoken": variables["MASTER_TOKEN"], "url": "http://127.0.0.1:1"}
        assert (await engine.post("/worker_status/", report))[0] == 200


async def test_a_token_for_a_worker_that_knows_no_tickets_has_no_ticket_key() -> None:
    async with an_engine() as engine:
        args = ["--engine", engine.url, "-e", "default", "--signature-scheme", "4", "--json"]
        ended = await pyworker("worker", "token", *args, env=KEY)
        assert set(json.loads(ended.out)) == {"REPORT_ADDR", "MASTER_TOKEN"}


async def test_what_the_engine_says_against_a_token_is_passed_on() -> None:
    async with an_engine() as engine:
        unknown = await pyworker("worker", "token", "--engine", engine.url, "-e", "nope", env=KEY)
        assert (unknown.status, unknown.out) == (1, "")
        assert "there is default" in unknown.err
        wrong = await pyworker("worker", "token", "--engine", engine.url, "-e", "default", "-k", "wrong")
        assert wrong.status == 1
        assert "API key" in wrong.err


@pytest.mark.parametrize(
    "command", [["worker", "token", "-e", "default"], ["call", "default", "/generate", "-d", "{}"]]
)
async def test_without_an_engine_or_a_key_the_next_step_is_told(command: list[str]) -> None:
    ended = await pyworker(*command, "--engine", f"http://127.0.0.1:{free_port()}", env=KEY)
    assert ended.status == 1
    assert "pyworker engine" in ended.err
    ended = await pyworker(*command, "--engine", "http://127.0.0.1:1")
    assert ended.status == 1
    assert "PYWORKER_API_KEY" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("body", [b"<html>", b"{}"])
async def test_an_address_that_is_no_engine_is_told(body: bytes) -> None:
    async with FakeServer(default=answer(body)) as server:
        ended = await pyworker("worker", "token", "--engine", server.url, "-e", "default", env=KEY)
    assert ended.status == 1
    assert "not an engine's" in ended.err


# --- call ---


async def test_an_answer_is_printed_and_a_stream_as_it_comes() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/generate", worker.checked(answer({"response": "Grüße"})))
        worker.on("/generate_stream", worker.checked(stream(['data: {"token": "one"}\n\n'])))
        env = {**KEY, "PYWORKER_ENGINE": engine.url}
        ended = await pyworker("call", "default", "/generate", "-d", '{"prompt": "Hello"}', env=env)
        assert (ended.status, json.loads(ended.out), ended.err) == (0, {"response": "Grüße"}, "")
        ended = await pyworker("call", "default", "/generate_stream", "--stream", "-d", '{"prompt": "Hello"}', env=env)
        assert (ended.status, ended.out, ended.err) == (0, 'data: {"token": "one"}\n\n', "")


async def test_the_payload_may_come_from_a_file_or_from_stdin(tmp_path: Path) -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/generate", answer({}))
        env = {**KEY, "PYWORKER_ENGINE": engine.url}
        (tmp_path / "request.json").write_text('{"prompt": "from a file"}')
        await pyworker("call", "default", "/generate", "-d", f"@{tmp_path}/request.json", env=env)
        await pyworker("call", "default", "/generate", "-d", "-", env=env, stdin='{"prompt": "from stdin"}')
        prompts = [request.json()["payload"]["prompt"] for request in worker.requests if request.path == "/generate"]
        assert prompts == ["from a file", "from stdin"]


async def test_another_method_needs_no_payload_and_a_body_goes_as_it_is(tmp_path: Path) -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/models", answer({"models": []}))
        worker.on("/image", answer({}))
        env = {**KEY, "PYWORKER_ENGINE": engine.url}
        (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
        ended = await pyworker("call", "default", "/models", "--method", "get", env=env)
        assert (ended.status, json.loads(ended.out)) == (0, {"models": []})
        body = ["--body", f"{tmp_path}/photo.jpg", "--content-type", "image/jpeg"]
        assert (await pyworker("call", "default", "/image", *body, env=env)).status == 0
        got, put = worker.requests[-2:]
        assert (got.method, put.body, put.headers["Content-Type"]) == ("GET", b"\xff\xd8", "image/jpeg")


async def test_a_call_without_anything_to_send_says_what_to_give() -> None:
    ended = await pyworker("call", "default", "/generate", env=KEY)
    assert ended.status == 2
    assert "--body" in ended.err


async def test_an_endpoint_that_is_not_there_is_told_with_those_that_are() -> None:
    async with an_engine() as engine:
        ended = await pyworker("call", "nope", "/generate", "-d", "{}", "--engine", engine.url, env=KEY)
        assert ended.status == 1
        assert "there is no endpoint 'nope'; there is default" in ended.err


@pytest.mark.parametrize("data", ["{", "[1]", "@/nowhere/request.json", "hello"])
async def test_a_payload_that_is_no_json_object_is_told(data: str) -> None:
    ended = await pyworker("call", "default", "/generate", "-d", data, env=KEY)
    assert ended.status == 2
    assert "Traceback" not in ended.err


async def test_an_error_of_the_worker_goes_to_stderr_with_status_1() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/generate", answer({"prompt": "missing parameter"}, status=422))
        ended = await pyworker("call", "default", "/generate", "-d", "{}", "--engine", engine.url, env=KEY)
        assert (ended.status, ended.out) == (1, "")
        assert "422" in ended.err
        assert "missing parameter" in ended.err


async def test_a_call_without_a_worker_ends_at_its_timeout_and_says_why() -> None:
    async with an_engine() as engine:
        args = ["-d", "{}", "--engine", engine.url, "--timeout", "0.5"]
        ended = await pyworker("call", "default", "/generate", *args, env=KEY)
        assert ended.status == 1
        assert "no worker has reported yet" in ended.err


async def test_a_call_whose_only_worker_benchmarks_says_so() -> None:
    async with a_fleet() as (engine, fleet):
        await fleet.join(report={"state": "benchmarking"})
        args = ["-d", "{}", "--engine", engine.url, "--timeout", "0.5"]
        ended = await pyworker("call", "default", "/generate", *args, env=KEY)
        assert ended.status == 1
        assert "no worker is free (1 benchmarking)" in ended.err


async def test_ctrl_c_ends_a_call_and_the_worker_learns_of_it() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/generate", by_hand)
        call = (*PYWORKER, "call", "default", "/generate", "-d", "{}", "--engine", engine.url)
        async with running(*call, env=KEY) as command:
            request = await worker.requests.where(lambda request: request.path == "/generate")
            command.signal(signal.SIGINT)
            ended = await command.ended()
        assert (ended.status, ended.out) == (130, "")
        assert "Traceback" not in ended.err
        await request.gone.wait()


# --- run ---


async def test_a_worker_that_is_not_there_is_told_without_a_traceback() -> None:
    ended = await pyworker("run", "/nowhere/worker.py")
    assert ended.status != 0
    assert "/nowhere/worker.py" in ended.err
    assert "Traceback" not in ended.err


async def test_a_command_asks_an_engine_again_that_has_too_much_to_do() -> None:
    async with FakeServer() as busy:
        key = {"endpoint": "default", "mtoken": "m", "ticket_key": None, "ticket_key_id": None, "success": True}
        too_much = answer({"success": False, "error": "overloaded", "msg": "try again"}, status=503)
        busy.on("/api/v0/worker_tokens/", too_much, answer(key))
        ended = await pyworker("worker", "token", "--engine", busy.url, "-e", "default", "--json", env=KEY)
        assert json.loads(ended.out)["MASTER_TOKEN"] == "m"  # noqa: S105
