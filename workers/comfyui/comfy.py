"""ComfyUI as this worker uses it: follows a prompt to its end, fetches what it made, takes it out of the queue."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final

import aiohttp

from workers.comfyui.protocol import Outcome, OutputFile, is_end, outcome_of, progress_of, queue_of

__all__ = ["Comfy", "ComfyFailed"]

log = logging.getLogger("pyworker.handler")

QUIET_S: Final = 30.0  # without a word of ComfyUI, before it is asked whether it still knows the prompt
CANCEL_S: Final = 10.0
LOOKS, LOOK_AGAIN_S = 20, 0.25  # ComfyUI checks a workflow before it is in the queue

Progress = dict[str, Any]


class ComfyFailed(Exception):
    """ComfyUI did not do its part; the message says which."""


class Comfy:
    """Calls through the worker's session, which is there while the worker runs.

    ``quiet_s`` is how long nothing may come over the websocket.
    """

    def __init__(self, session: Callable[[], aiohttp.ClientSession], *, quiet_s: float = QUIET_S) -> None:
        self._session = session
        self._quiet_s = quiet_s

    async def submit(self, body: Mapping[str, Any]) -> str:
        """Queue a prompt; its id. Raises ComfyFailed."""
        async with self._session().post("/prompt", json=body) as response:
            if response.status != 200:
                raise ComfyFailed(f"ComfyUI refused the workflow: {await response.text()}")
            return str((await response.json())["prompt_id"])

    async def follow(self, prompt_id: str, client_id: str) -> AsyncGenerator[Progress, None]:
        """How far a prompt is, until it has ended. Raises ComfyFailed when ComfyUI loses it, or ends itself.

        The prompt may have ended before the websocket was open: so the history is asked first. What ends later is
        told over the websocket, once it is in the history.
        """
        try:
            async with self._session().ws_connect("/ws", params={"clientId": client_id}, max_msg_size=0) as socket:
                if await self._history(prompt_id) is not None:
                    return
                while not is_end(message := await self._next(socket, prompt_id), prompt_id):
                    progress = progress_of(message, prompt_id)
                    if progress is not None:
                        yield progress
        except (aiohttp.ClientError, OSError) as error:
            raise ComfyFailed(f"ComfyUI broke off: {type(error).__name__}") from None

    async def wait_for(self, prompt_id: str, client_id: str) -> None:
        """Wait for the end of a prompt. Raises ComfyFailed as ``follow`` does."""
        async with contextlib.aclosing(self.follow(prompt_id, client_id)) as steps:
            async for _ in steps:
                pass

    async def _next(self, socket: aiohttp.ClientWebSocketResponse, prompt_id: str) -> dict[str, Any]:
        """The next message; the pictures between them are left out."""
        while True:
            try:
                async with asyncio.timeout(self._quiet_s):
                    message = await socket.receive()
            except TimeoutError:
                if await self._history(prompt_id) is not None:
                    return {"type": "executing", "data": {"node": None, "prompt_id": prompt_id}}
                if not any(queued.prompt_id == prompt_id for queued in queue_of(await self._get("/queue"))):
                    raise ComfyFailed("ComfyUI does not know the prompt any more") from None
                continue
            if message.type is aiohttp.WSMsgType.TEXT:
                return json.loads(message.data)
            if message.type is not aiohttp.WSMsgType.BINARY:
                raise ComfyFailed("ComfyUI closed the connection before the prompt had ended")

    async def outcome(self, prompt_id: str) -> Outcome:
        """How a prompt ended. Raises ComfyFailed when its history has gone."""
        entry = await self._history(prompt_id)
        if entry is None:
            raise ComfyFailed("ComfyUI's history of the prompt has gone")
        return outcome_of(entry)

    async def fetch(self, file: OutputFile) -> tuple[bytes, str]:
        """A file and its type. Raises ComfyFailed."""
        place = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        try:
            async with self._session().get("/view", params=place) as response:
                if response.status != 200:
                    raise ComfyFailed(f"ComfyUI answers {response.status} for {file.filename}")
                return await response.read(), response.content_type
        except (aiohttp.ClientError, OSError) as error:
            raise ComfyFailed(f"ComfyUI broke off: {type(error).__name__}") from None

    async def cancel(self, prompt_id: str) -> None:
        """Take a prompt out of the queue, and interrupt it when it runs. What fails is logged."""
        try:
            async with asyncio.timeout(CANCEL_S):
                await self._post("/queue", {"delete": [prompt_id]})
                running = [queued for queued in queue_of(await self._get("/queue")) if queued.is_running]
                if any(queued.prompt_id == prompt_id for queued in running):  # older versions interrupt whatever runs
                    await self._post("/interrupt", {"prompt_id": prompt_id})
        except (aiohttp.ClientError, OSError, ComfyFailed) as error:
            log.warning("a prompt whose client has gone could not be cancelled: %s", error or type(error).__name__)

    async def cancel_of(self, client_id: str) -> None:
        """Cancel the prompt that was sent under this name, which may only be about to be queued."""
        for _ in range(LOOKS):
            with contextlib.suppress(ComfyFailed):
                found = [queued for queued in queue_of(await self._get("/queue")) if queued.client_id == client_id]
                for queued in found:
                    await self.cancel(queued.prompt_id)
                if found:
                    return
            await asyncio.sleep(LOOK_AGAIN_S)

    async def sweep(self, client_prefix: str, but: str) -> None:
        """Cancel what a worker before this one, which was killed, has left in the queue.

        There is one request at a time, so that whatever is there besides, and has a name of ours, is such a one.
        """
        with contextlib.suppress(ComfyFailed):
            for queued in queue_of(await self._get("/queue")):
                if queued.client_id.startswith(client_prefix) and queued.prompt_id != but:
                    await self.cancel(queued.prompt_id)

    async def _history(self, prompt_id: str) -> dict[str, Any] | None:
        return (await self._get(f"/history/{prompt_id}")).get(prompt_id)

    async def _get(self, path: str) -> dict[str, Any]:
        try:
            async with self._session().get(path) as response:
                if response.status == 200:
                    return await response.json()
        except (aiohttp.ClientError, OSError) as error:
            raise ComfyFailed(f"ComfyUI broke off: {type(error).__name__}") from None
        raise ComfyFailed(f"ComfyUI answers {response.status} to GET {path}")

    async def _post(self, path: str, body: Mapping[str, Any]) -> None:
        async with self._session().post(path, json=body) as response:
            await response.read()
