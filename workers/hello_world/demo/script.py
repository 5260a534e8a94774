"""What happens in the demo, in order: model, engine, worker, two questions."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Final

import aiohttp

from pyworker.client import Answer, Client
from pyworker.client.management import issue_token
from pyworker.errors import PyWorkerError
from pyworker.settings import VARIABLES
from pyworker.wire import TokenRequest
from workers.hello_world.demo.part import Part, PartFailed
from workers.hello_world.demo.screen import Screen, Step

__all__ = ["Script"]

ENDPOINT: Final = "hello"
QUESTION: Final = "Explain in one sentence what a web server does."
STREAMED_QUESTION: Final = "What is a lighthouse?"
START_S: Final = 60.0
READY_S: Final = 300.0
LOOK_AGAIN_S: Final = 0.1


class Script:
    """Plays on a screen, with logs and state in a folder; ``model`` is another GGUF file than the installed one."""

    def __init__(self, screen: Screen, folder: Path, *, model: Path | None) -> None:
        self.answered = False
        self._screen = screen
        self._folder = folder
        self._api_key = secrets.token_urlsafe(16)
        weights = ["--model", str(model)] if model else []
        engine = ["engine", "--port", "0", "--endpoint", ENDPOINT, "--json"]
        self._model = Part("model server", ["workers.hello_world.model_server", "--port", "0", *weights], folder)
        self._engine = Part("engine", ["pyworker.cli", *engine], folder)
        self._worker = Part("worker", ["workers.hello_world.demo.worker"], folder)

    async def play(self) -> None:
        """Start all, ask both questions; on a terminal, wait to be cancelled. Raises PartFailed."""
        self._screen.title(self._folder)
        model_url = await self._start_model()
        engine_url = await self._start_engine()
        worker_url = await self._start_worker(model_url, engine_url)
        async with Client(engine_url, self._api_key) as client:
            await self._while_all_run(self._ask(client))
        self.answered = True
        self._screen.show_next(engine_url, worker_url, self._api_key, ENDPOINT)
        if self._screen.is_terminal:
            await self._while_all_run(asyncio.Event().wait())

    async def stop(self) -> None:
        """End what runs, the last one first."""
        for part in (self._worker, self._engine, self._model):
            await part.stop()

    # --- the parts ---

    async def _start_model(self) -> str:
        with self._screen.step("model server", "loading a language model into llama.cpp") as step:
            await self._model.start()
            step.url = await self._model.says(r'infer server has started.*?(http://[^\s"]+)', within_s=START_S)
        return step.url

    async def _start_engine(self) -> str:
        with self._screen.step("engine", "making its keys") as step:
            await self._engine.start({"PYWORKER_API_KEY": self._api_key})
            announced = await self._engine.says(r'("url": ?"[^"]+")', within_s=START_S)
            step.url = json.loads(f"{{{announced}}}")["url"]
        return step.url

    async def _start_worker(self, model_url: str, engine_url: str) -> str:
        """With a token from the engine, and its place in the environment."""
        with self._screen.step("worker", "getting a token from the engine") as step:
            token = await self._token(engine_url)
            unset = {variable.name: "" for variable in VARIABLES}  # what this shell may have set is not for the demo
            place = {
                "WORKER_HOST": "127.0.0.1",
                "WORKER_PORT": "0",
                "VAST_TCP_PORT_0": "0",
                "PUBLIC_IPADDR": "127.0.0.1",
                "CONTAINER_ID": "1",
                "REPORT_ADDR": engine_url,
                "MODEL_SERVER_URL": model_url,
                "MODEL_LOG": str(self._model.log_path),
                "PYWORKER_STATE_DIR": str(self._folder),
            }
            await self._worker.start(unset | place | token)
            step.url = await self._worker.says(r"serving at (http://\S+)", within_s=START_S)
            await self._until_ready(step)
        return step.url

    async def _token(self, engine_url: str) -> dict[str, str]:
        try:
            answer = await asyncio.to_thread(issue_token, engine_url, self._api_key, TokenRequest(ENDPOINT))
        except PyWorkerError as error:
            raise PartFailed(self._engine, f"gave no token: {error}") from None
        return {
            "MASTER_TOKEN": answer.mtoken,
            "PYWORKER_TICKET_KEY": answer.ticket_key or "",
            "PYWORKER_TICKET_KEY_ID": answer.ticket_key_id or "",
        }

    async def _until_ready(self, step: Step) -> None:
        """Show what the worker says it waits for, until it waits for nothing."""
        waits_for = ""
        try:
            async with asyncio.timeout(READY_S), aiohttp.ClientSession() as session:
                while not (page := await self._while_all_run(_ready_page(session, step.url)))["ready"]:
                    waits_for = page["benchmark"] or page["waiting_for"] or page["error"] or page["state"]
                    step.waits_for(waits_for)
                    await asyncio.sleep(LOOK_AGAIN_S)
        except TimeoutError:
            raise PartFailed(self._worker, f"was not ready within {READY_S:g} s: {waits_for}") from None

    async def _while_all_run(self, doing: Awaitable[Any]) -> Any:
        """Its result, unless a part ends first. Raises PartFailed."""
        task = asyncio.ensure_future(doing)
        ends = [asyncio.ensure_future(part.ends()) for part in (self._model, self._engine, self._worker)]
        try:
            await asyncio.wait([task, *ends], return_when=asyncio.FIRST_COMPLETED)
            for ended in (*ends, task):
                if ended.done():
                    return ended.result()
        finally:
            for pending in (task, *ends):
                pending.cancel()
            await asyncio.gather(task, *ends, return_exceptions=True)

    # --- the questions ---

    async def _ask(self, client: Client) -> None:
        try:
            await self._ask_for_json(client)
            await self._ask_for_stream(client)
        except PyWorkerError as error:
            raise PartFailed(self._worker, f"did not answer: {error}") from None

    async def _ask_for_json(self, client: Client) -> None:
        self._screen.question("/generate", QUESTION)
        payload = {"prompt": QUESTION, "max_response_tokens": 60}
        async with client.call(ENDPOINT, "/generate", payload) as answer:
            self._require_ok(answer, body := await answer.read())
        message = json.loads(body)
        self._screen.token(message["response"])
        self._screen.end_of_answer(message)

    async def _ask_for_stream(self, client: Client) -> None:
        self._screen.question("/generate_stream", STREAMED_QUESTION)
        payload = {"prompt": STREAMED_QUESTION, "max_response_tokens": 80}
        async with client.call(ENDPOINT, "/generate_stream", payload) as answer:
            if not answer.ok:
                self._require_ok(answer, await answer.read())
            numbers: dict[str, Any] = {}
            async for line in answer.lines():
                numbers = json.loads(line.removeprefix(b"data: "))
                self._screen.token(numbers.get("token", ""))
        self._screen.end_of_answer(numbers)

    def _require_ok(self, answer: Answer, body: bytes) -> None:
        if not answer.ok:
            why = body[:500].decode(errors="replace")
            raise PartFailed(self._worker, f"answered with status {answer.status}: {why}")


async def _ready_page(session: aiohttp.ClientSession, worker_url: str) -> dict[str, Any]:
    async with session.get(f"{worker_url}/pyworker/ready") as response:
        page: dict[str, Any] = await response.json()
        return page
