"""What happens in the demo, in order: an engine, its first worker, two questions, more load, commands to try."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pyworker.client import Client
from pyworker.errors import PyWorkerError
from pyworker.wire import WorkerInfo
from workers.hello_world.demo.burst import ask_at_once, requests_for
from workers.hello_world.demo.deployment import with_model
from workers.hello_world.demo.engine import EngineProcess, PartFailed
from workers.hello_world.demo.questions import ask
from workers.hello_world.demo.screen import Screen, Step
from workers.hello_world.demo.view import View

__all__ = ["Script"]

ENDPOINT: Final = "hello"
READY_S: Final = 300.0
LOOK_AGAIN_S: Final = 0.1
SLOW_S: Final = 15.0  # a machine whose first worker takes longer would take too long to start a second one under load
SECOND_S: Final = 20.0  # for the second worker


class Script:
    """Plays on a screen, with logs and state in a folder; ``model`` is another GGUF file than the installed one."""

    def __init__(self, screen: Screen, folder: Path, *, model: Path | None) -> None:
        self.answered = False
        self._screen = screen
        self._folder = folder
        self._api_key = secrets.token_urlsafe(16)
        self._engine = EngineProcess(with_model(model, folder), folder, self._api_key)
        self._start_s = 0.0  # what the first worker took
        self._shows_log = False

    async def play(self) -> None:
        """Show all; on a terminal, stay until cancelled. Raises PartFailed."""
        self._screen.title(self._folder)
        with self._screen.step("engine", "making its keys") as step:
            step.url = await self._engine.start()
        async with View(step.url, self._api_key) as view, Client(step.url, self._api_key) as client:
            log = asyncio.ensure_future(self._follow(view))
            try:
                await self._engine.meanwhile(self._show(view, client, step.url))
            finally:
                log.cancel()
                await asyncio.gather(log, return_exceptions=True)

    async def stop(self) -> None:
        """End what runs."""
        await self._engine.stop()

    async def _show(self, view: View, client: Client, engine_url: str) -> None:
        worker = await self._first_worker(view)
        try:
            await ask(client, ENDPOINT, self._screen)
            self.answered = True
            await self._burst(view, client, worker)
        except PyWorkerError as error:
            raise PartFailed(f"worker {worker.id} did not answer: {error}", self._logs(worker.id)) from None
        self._screen.show_next(engine_url, worker.url, self._api_key, ENDPOINT)
        if self._screen.is_terminal:
            self._shows_log = True
            await asyncio.Event().wait()

    async def _follow(self, view: View) -> None:
        """Show the endpoint's log while it is asked for."""
        async for line in view.log():
            if self._shows_log:
                self._screen.log(line)

    # --- the first worker ---

    async def _first_worker(self, view: View) -> WorkerInfo:
        """Show what it waits for, until it waits for nothing. Raises PartFailed."""
        began_s = time.monotonic()
        with self._screen.step("worker 1", "being made by the engine") as step:
            try:
                worker = await asyncio.wait_for(self._until_ready(view, step), READY_S)
            except TimeoutError:
                raise PartFailed(f"{step.name} was not ready within {READY_S:g} s", self._logs(1)) from None
            step.url = worker.url
            step.note = f": {worker.measured_perf:.0f} prompt tokens/s"
        self._start_s = time.monotonic() - began_s
        return worker

    async def _until_ready(self, view: View, step: Step) -> WorkerInfo:
        while True:
            worker = await self._look(view, step)
            if worker is not None:
                return worker
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _look(self, view: View, step: Step) -> WorkerInfo | None:
        """The first worker once it is ready. Raises PartFailed when it has failed."""
        workers = (await view.endpoint()).workers
        if not workers:
            return None
        worker = workers[0]
        step.name = f"worker {worker.id}"
        if worker.status == "ERROR":
            why = worker.error_msg.partition("; its last lines")[0]  # they are shown below
            raise PartFailed(f"{step.name} has failed: {why}", self._logs(worker.id))
        page = await view.ready_page(worker.url) if worker.url else {}
        if page and not page["ready"]:
            waits_for = page["benchmark"] or page["waiting_for"] or page["error"] or page["state"]
            step.waits_for(waits_for.replace(f"{self._folder}/", ""))
        return worker if worker.status == "IDLE" else None

    def _logs(self, worker_id: int) -> list[Path]:
        return self._engine.worker_logs(worker_id) or [self._engine.log]

    # --- more than it can bear ---

    async def _burst(self, view: View, client: Client, worker: WorkerInfo) -> None:
        """Show how a second worker comes, and why; unless this machine is too slow for that."""
        if self._start_s > SLOW_S:
            self._screen.burst_left_out(self._start_s)
            return
        target_s = (await view.endpoint()).endpoint.target_queue_time
        count = requests_for(worker.measured_perf, target_s)
        self._screen.burst_begins(count, target_s)
        self._shows_log = True
        asking = asyncio.ensure_future(ask_at_once(client, ENDPOINT, count))
        try:
            is_there = await self._second_worker(view)
            await asking
            self._shows_log = False
            if is_there:
                self._screen.burst_again()
                self._screen.burst_ends(await self._by_worker(view, await ask_at_once(client, ENDPOINT, count)))
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _second_worker(self, view: View) -> bool:
        """Whether a second worker became ready in time."""
        until_s = time.monotonic() + SECOND_S
        while time.monotonic() < until_s:
            if sum(worker.status == "IDLE" for worker in (await view.endpoint()).workers) > 1:
                return True
            await asyncio.sleep(LOOK_AGAIN_S)
        return False

    async def _by_worker(self, view: View, answered: Mapping[str, int]) -> dict[int, int]:
        ids = {worker.url: worker.id for worker in (await view.endpoint()).workers}
        return {ids.get(url, 0): count for url, count in sorted(answered.items())}
