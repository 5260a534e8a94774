"""Fault 31 of the field: what a worker's log holds, and what it never may."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pyworker.testing import FakeEngine, FakeModel, FakeRequest, WorkerProcess, answer, by_hand
from pyworker.wire import dump_auth_header, parse_auth_data
from tests.support.raw_client import connected
from tests.support.workers.handlers import payload

ROOT = Path(__file__).parents[2]
MTOKEN = "SECRET-mtoken"
PROMPT = "SECRET-prompt, all of it"
ANSWER = "SECRET-answer"
KEY = "SECRET-endpoint-key"
COOKIE = "SECRET-cookie"


class Run:
    """Everything that happens to a worker in a bad hour, and the secrets that it came by."""

    def __init__(self, model: FakeModel, engine: FakeEngine, process: WorkerProcess, http: aiohttp.ClientSession):
        self.model = model
        self.engine = engine
        self.process = process
        self.http = http
        self.secrets = {MTOKEN, PROMPT, ANSWER, KEY, COOKIE, "SECRET"}
        self.secrets |= {process.env[name] for name in ("MASTER_TOKEN", "PYWORKER_TICKET_KEY") if name in process.env}

    def auth(self, **claims: Any) -> dict[str, Any]:
        """A ticket or a signature, either a secret."""
        make = self.engine.ticket if "PYWORKER_TICKET_KEY" in self.process.env else self.engine.sign
        made = make(self.process.url, **claims)
        self.secrets.add(made["signature"])
        return made

    async def post(self, path: str, message: Any, **headers: str) -> int:
        """POST JSON, as a client that shows all it has."""
        head = {"Authorization": f"Bearer {KEY}", "Cookie": f"c={COOKIE}", **headers}
        with contextlib.suppress(aiohttp.ClientError):
            async with self.http.post(f"{path}?api_key={KEY}", json=message, headers=head) as response:
                await response.read()
                return response.status
        return 0

    async def generate(self, path: str, **claims: Any) -> int:
        """A request as it should be."""
        return await self.post(path, self.engine.envelope(self.auth(**claims), payload(PROMPT)))

    async def good_and_bad_requests(self) -> None:
        """By every route, good ones, and those that fail in every way."""
        for path in ("/generate", "/authored", "/generate_stream"):
            self.model.on(path, answer({"text": ANSWER}))
            assert await self.generate(path) == 200
            self.model.on(path, answer({"error": ANSWER}, status=500))
            assert await self.generate(path) >= 500 or path == "/generate_stream"
            self.model.on(path, breaks_off)
            await self.generate(path)
            self.model.on(path, by_hand)
            leaving = asyncio.create_task(self.generate(path))
            held = await self.model.requests.where(lambda request, path=path: is_held(request, path))
            leaving.cancel()
            await held.gone.wait()
            self.model.on(path)
            wrong = {**self.auth(), "signature": "SECRET-no-signature"}
            assert await self.post(path, self.engine.envelope(wrong, payload(PROMPT))) == 401
            await self.post(path, self.engine.envelope(self.auth(), {"prompt": [PROMPT]}))
            assert await self.post(path, {"auth_data": PROMPT, "payload": payload(PROMPT)}) == 422

    async def a_session(self) -> None:
        """Opened, used, asked for by somebody else, ended."""
        auth = self.auth()
        async with self.http.post("/session/create", json={"auth_data": auth, "payload": {"lifetime": 60}}) as made:
            session_id = (await made.json())["session_id"]
        self.secrets.add(session_id)
        assert await self.post("/generate", self.engine.envelope(auth, payload(PROMPT), session_id=session_id)) == 200
        for proof in (self.auth(), auth):
            await self.post("/session/end", {"session_id": session_id, "session_auth": proof})

    async def plain_requests(self) -> None:
        """With the proof in the header: one that holds, and one that does not."""
        for auth in (self.auth(), {**self.auth(), "signature": "SECRET-no-signature"}):
            header = dump_auth_header(parse_auth_data(auth))
            self.secrets.add(header)
            await self.post("/generate", payload(PROMPT), **{"X-Auth-Data": header})

    async def what_is_no_http(self) -> None:
        """A line that no server understands may be a secret all the same."""
        for path in ("/generate", "/pyworker/ready"):
            async with connected(self.process.port) as client:
                await client.send(f"POST {path} HTTP/1.1\r\nHost: w\r\n{KEY} {PROMPT}\r\n\r\n")
                await client.closed()

    async def a_bad_engine(self) -> None:
        """It fails when there is something to tell it."""
        self.engine.on("/worker_status/", answer({"mtoken": MTOKEN, "error": "SECRET"}, status=500))
        assert await self.generate("/generate") == 200
        await self.process.output.where(lambda line: "the engine cannot be told" in line)
        self.engine.on("/worker_status/")


def is_held(request: FakeRequest, path: str) -> bool:
    """Whether it waits for an answer."""
    return request.path == path and not request.ended.is_set() and not request.gone.is_set()


async def breaks_off(request: FakeRequest) -> None:
    """Dies in the middle of its answer."""
    await request.send(ANSWER)
    request.drop()


@asynccontextmanager
async def a_run(log_format: str, *, tickets: bool) -> AsyncGenerator[Run]:
    """A worker that logs all it can."""
    async with FakeModel() as model, FakeEngine(mtoken=MTOKEN) as engine:
        env = {"MODEL_SERVER_URL": model.url, "LOG_LEVEL": "DEBUG", "LOG_FORMAT": log_format, "PYTHONPATH": str(ROOT)}
        env |= {"PYWORKER_REPORT_INTERVAL_S": "0.05", **(engine.ticket_env() if tickets else {})}
        command = ["tests/support/workers/plain/worker.py"]
        async with WorkerProcess(command, engine=engine, env=env, cwd=ROOT) as process:
            await process.ready()
            async with aiohttp.ClientSession(process.url) as http:
                yield Run(model, engine, process, http)


@pytest.mark.parametrize("tickets", [True, False], ids=["tickets", "signatures"])
@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_no_secret_prompt_or_signature_gets_into_the_log(log_format: str, tickets: bool) -> None:
    """Fault 31: over a busy run, at the level that shows most."""
    async with a_run(log_format, tickets=tickets) as run:
        await run.good_and_bad_requests()
        await run.a_session()
        await run.plain_requests()
        await run.what_is_no_http()
        await run.a_bad_engine()
        run.process.terminate()
        assert await run.process.ended() == 0
        log = "\n".join(run.process.output)
        assert "refused POST /generate" in log
        found = {secret for secret in run.secrets if secret in log or in_base64(secret) in log}
        assert not found, [line for line in run.process.output if any(secret in line for secret in found)]


def in_base64(text: str) -> str:
    """How it would look in a header."""
    return base64.b64encode(text.encode()).decode().rstrip("=")[:-1]


async def test_a_json_log_is_one_object_a_line() -> None:
    """With time, level, logger and message; traces too."""
    async with a_run("json", tickets=True) as run:
        await run.good_and_bad_requests()
        run.process.terminate()
        await run.process.ended()
        lines = [json.loads(line) for line in run.process.output]
        assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
        assert {line["logger"].partition(".")[0] for line in lines} == {"pyworker"}
        assert {"INFO", "WARNING"} <= {line["level"] for line in lines}


async def test_a_request_that_is_served_is_no_line_in_the_log() -> None:
    """One line an event, and a thousand good requests are none."""
    async with a_run("text", tickets=True) as run:
        await run.engine.reports.where(lambda report: report.state == "ready")
        before = len(run.process.output)
        for _ in range(20):
            assert await run.generate("/generate") == 200
            assert await run.generate("/authored") == 200
        assert await run.post("/generate", {}) == 422
        refused = {**run.auth(), "signature": "no"}
        assert await run.post("/generate", run.engine.envelope(refused, payload())) == 401
        line = await run.process.output.where(lambda line: "refused POST /generate" in line)
        assert run.process.output[before:] == [line]
