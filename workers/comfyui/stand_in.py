"""A stand-in for ComfyUI: ``python -m workers.comfyui.stand_in``. It speaks the documented protocol and paints squares.

It has a queue, progress over the websocket, errors of validation and of execution, interruption, and a history. What it
makes is one colour, which depends on the seed. It knows the nodes of our default workflows; ``StandInError`` is a node
that fails when it runs, and the checkpoint ``missing.safetensors`` is not there.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import struct
import sys
import uuid
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from aiohttp import WSMsgType, web

from workers.comfyui.workflow import picture_of
from workers.model_process import add_address_options, run

__all__ = ["StandIn"]

NODES: Final = frozenset(
    {
        *("CLIPTextEncode", "CheckpointLoaderSimple", "ConditioningZeroOut", "DualCLIPLoader", "EmptyLatentImage"),
        *("EmptySD3LatentImage", "FluxGuidance", "KSampler", "ModelSamplingSD3", "PreviewImage", "SaveImage"),
        *("StandInError", "UNETLoader", "VAEDecode", "VAELoader"),
    }
)
OUTPUT_NODES: Final = {"SaveImage": "output", "PreviewImage": "temp"}
NOT_THERE: Final = "missing.safetensors"

Refusal = tuple[dict[str, Any], dict[str, Any]]  # error and node_errors


class StandIn:
    """Runs one prompt after the other; a step takes ``step_s``."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._pending: list[list[Any]] = []
        self._running: list[Any] | None = None
        self._interrupted = asyncio.Event()
        self._more = asyncio.Event()
        self._history: dict[str, dict[str, Any]] = {}
        self._files: dict[str, bytes] = {}
        self._number = 0

    def app(self) -> web.Application:
        """The HTTP surface."""
        app = web.Application(client_max_size=64 << 20)
        app.add_routes(
            [
                web.get("/ws", self._socket),
                web.get("/system_stats", self._stats),
                web.post("/prompt", self._prompt),
                web.get("/history/{prompt_id}", self._history_of),
                web.get("/view", self._view),
                web.get("/queue", self._queue),
                web.post("/queue", self._change_queue),
                web.post("/interrupt", self._interrupt),
            ]
        )
        app.cleanup_ctx.append(self._working)
        return app

    async def _working(self, _: web.Application) -> AsyncIterator[None]:
        worker = asyncio.create_task(self._work())
        yield
        worker.cancel()
        await asyncio.wait([worker])
        for socket in list(self._sockets.values()):
            await socket.close()

    # --- routes ---

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client_id = request.query.get("clientId") or uuid.uuid4().hex
        self._sockets[client_id] = socket
        await socket.send_json({"type": "status", "data": {"status": self._exec_info(), "sid": client_id}})
        try:
            async for message in socket:
                if message.type is WSMsgType.ERROR:
                    break
        finally:
            self._sockets.pop(client_id, None)
        return socket

    async def _stats(self, _: web.Request) -> web.Response:
        return web.json_response({"system": {"comfyui_version": "stand-in"}, "devices": []})

    async def _prompt(self, request: web.Request) -> web.Response:
        body = await request.json()
        workflow: dict[str, Any] = body["prompt"]
        refusal = _refusal(workflow)
        if refusal is not None:
            error, node_errors = refusal
            whole: dict[str, Any] = {"details": "", "extra_info": {}, **error}
            return web.json_response({"error": whole, "node_errors": node_errors}, status=400)
        self._number += 1
        prompt_id = str(uuid.uuid4())
        extra = {**body.get("extra_data", {}), "client_id": body.get("client_id")}
        self._pending.append([self._number, prompt_id, workflow, extra, []])
        self._more.set()
        return web.json_response({"prompt_id": prompt_id, "number": self._number, "node_errors": {}})

    async def _history_of(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        found = {prompt_id: self._history[prompt_id]} if prompt_id in self._history else {}
        return web.json_response(found)

    async def _view(self, request: web.Request) -> web.Response:
        content = self._files.get(request.query.get("filename", ""))
        if content is None:
            return web.Response(status=404)
        return web.Response(body=content, content_type="image/png")

    async def _queue(self, _: web.Request) -> web.Response:
        running = [self._running] if self._running is not None else []
        return web.json_response({"queue_running": running, "queue_pending": self._pending})

    async def _change_queue(self, request: web.Request) -> web.Response:
        body = await request.json()
        gone = set(body.get("delete", ()))
        self._pending = [item for item in self._pending if item[1] not in gone and not body.get("clear")]
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = await request.json() if request.can_read_body else {}
        if self._running is not None and body.get("prompt_id") in {None, self._running[1]}:
            self._interrupted.set()
        return web.Response()

    # --- work ---

    async def _work(self) -> None:
        while True:
            while not self._pending:
                self._more.clear()
                await self._more.wait()
            self._running = self._pending.pop(0)
            self._interrupted.clear()
            await self._execute(*self._running[1:4])

    async def _execute(self, prompt_id: str, workflow: dict[str, Any], extra: dict[str, Any]) -> None:
        client_id = str(extra.get("client_id"))
        outputs: dict[str, Any] = {}
        messages: list[Any] = []
        event, data = "execution_success", {}

        async def tell(type_: str, **data: Any) -> None:
            data["prompt_id"] = prompt_id
            if type_ not in {"executing", "progress", "executed"}:
                messages.append([type_, data])
            await self._send(client_id, type_, data)

        await tell("execution_start")
        for node_id, node in workflow.items():
            await tell("executing", node=node_id)
            failure = await self._run_node(node_id, node, workflow, tell, outputs)
            if failure is not None:
                event, data = failure
                break
        await tell(event, **data)
        is_well = event == "execution_success"
        status = {"status_str": "success" if is_well else "error", "completed": is_well, "messages": messages}
        prompt: list[Any] = [self._running[0] if self._running else 0, prompt_id, workflow, extra, []]
        self._history[prompt_id] = {"prompt": prompt, "outputs": outputs, "status": status}
        self._running = None
        await self._send(client_id, "executing", {"node": None, "prompt_id": prompt_id})

    async def _run_node(
        self, node_id: str, node: Mapping[str, Any], workflow: dict[str, Any], tell: Any, outputs: dict[str, Any]
    ) -> tuple[str, dict[str, Any]] | None:
        kind = node["class_type"]
        if kind == "StandInError":
            error = {"node_id": node_id, "node_type": kind, "exception_type": "RuntimeError", "traceback": ["..."]}
            return "execution_error", {**error, "exception_message": str(node["inputs"].get("message", "it failed"))}
        if kind == "KSampler" and not await self._sample(node_id, int(node["inputs"]["steps"]), tell):
            return "execution_interrupted", {"node_id": node_id, "node_type": kind, "executed": []}
        if kind in OUTPUT_NODES:
            outputs[node_id] = {"images": [self._save(workflow, OUTPUT_NODES[kind])]}
            await tell("executed", node=node_id, output=outputs[node_id])
        return None

    async def _sample(self, node_id: str, steps: int, tell: Any) -> bool:
        """False when it was interrupted."""
        for step in range(1, steps + 1):
            try:
                async with asyncio.timeout(self._step_s):
                    await self._interrupted.wait()
                return False
            except TimeoutError:
                await tell("progress", node=node_id, value=step, max=steps)
        return True

    def _save(self, workflow: dict[str, Any], type_: str) -> dict[str, str]:
        picture = picture_of(workflow)
        name = f"pyworker_{len(self._files) + 1:05}_.png"
        self._files[name] = _png(picture.width, picture.height, hashlib.sha256(json.dumps(workflow).encode()).digest())
        return {"filename": name, "subfolder": "", "type": type_}

    async def _send(self, client_id: str, type_: str, data: dict[str, Any]) -> None:
        socket = self._sockets.get(client_id)
        if socket is not None and not socket.closed:
            await socket.send_json({"type": type_, "data": data})
            if type_ == "progress":
                await socket.send_bytes(b"\x00\x00\x00\x01\x00\x00\x00\x01" + b"a preview")

    def _exec_info(self) -> dict[str, Any]:
        return {"exec_info": {"queue_remaining": len(self._pending) + (self._running is not None)}}


def _refusal(workflow: dict[str, Any]) -> Refusal | None:
    """What ComfyUI's validation has against a workflow."""
    for node_id, node in workflow.items():
        if node["class_type"] not in NODES:
            message = f"Cannot execute because node {node['class_type']} does not exist."
            return {"type": "invalid_prompt", "message": message, "details": f"Node ID '#{node_id}'"}, {}
    if not any(node["class_type"] in OUTPUT_NODES for node in workflow.values()):
        return {"type": "prompt_no_outputs", "message": "Prompt has no outputs"}, {}
    for node_id, node in workflow.items():
        if node["inputs"].get("ckpt_name") == NOT_THERE:
            error = {
                "type": "value_not_in_list",
                "message": "Value not in list",
                "details": f"ckpt_name: '{NOT_THERE}'",
            }
            errors = {node_id: {"errors": [error], "dependent_outputs": [], "class_type": node["class_type"]}}
            return {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation"}, errors
    return None


def _png(width: int, height: int, colour: bytes) -> bytes:
    """A picture of one colour."""
    row = b"\x00" + colour[:3] * width
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(row * height, 1)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m workers.comfyui.stand_in", description="a stand-in for ComfyUI")
    add_address_options(parser, port=8188)
    parser.add_argument("--step-s", type=float, default=0.02, metavar="S", help="s a step (default: %(default)s)")
    options = parser.parse_args(arguments)
    return run(lambda: StandIn(options.step_s).app(), options, lambda url: f"To see the GUI go to: {url}")


if __name__ == "__main__":
    sys.exit(main())
