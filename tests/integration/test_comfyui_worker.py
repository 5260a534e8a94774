"""The ComfyUI worker as a process, before the stand-in that speaks ComfyUI's protocol."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

from pyworker.testing import FakeServer, WorkerProcess, answer
from tests.support.worker_rig import WorkerRig, model_process, ready_worker
from workers.comfyui.storage import Bucket, upload

GUI = "To see the GUI go to: "
SMALL = {"prompt": "a lighthouse", "width": 64, "height": 64, "steps": 2}
ENDLESS = {**SMALL, "steps": 200}
SAVE = {"class_type": "SaveImage", "inputs": {}}


@dataclass
class Comfyui(WorkerRig):
    """The worker before the stand-in, whose queue and history can be seen."""

    stand_in: WorkerProcess
    direct: aiohttp.ClientSession

    async def stream(self, route: str, payload: Any) -> list[dict[str, Any]]:
        """The events of an answer that is a stream."""
        async with self.http.post(route, json=self.envelope(payload)) as response:
            assert (response.status, response.content_type) == (200, "text/event-stream")
            text = await response.text()
        return [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n") if line]

    async def queue(self) -> dict[str, Any]:
        async with self.direct.get("/queue") as response:
            return await response.json()

    async def becomes(self, running: int) -> list[Any]:
        """Wait until so many prompts run and none waits; they."""
        while True:
            queue = await self.queue()
            if len(queue["queue_running"]) == running and not queue["queue_pending"]:
                return queue["queue_running"]
            await asyncio.sleep(0.01)

    async def history(self, prompt_id: str) -> dict[str, Any]:
        async with self.direct.get(f"/history/{prompt_id}") as response:
            return (await response.json())[prompt_id]

    async def outcomes(self, count: int) -> list[str]:
        """How the worker told its engine that requests have ended, once there are so many."""
        while len(self.engine.finished) < count:
            await self.engine.finished.next()
        return [finished.status for finished in self.engine.finished]


@asynccontextmanager
async def comfyui(folder: Path, step_s: float = 0.005, **env: str) -> AsyncIterator[Comfyui]:
    async with model_process("workers.comfyui.stand_in", GUI, "--step-s", str(step_s)) as (stand_in, url):
        loaded = (folder / "model.log", f"{GUI}{url}")
        async with (
            ready_worker("workers.comfyui.server", url, loaded=loaded, env=env) as rig,
            aiohttp.ClientSession(url) as direct,
        ):
            yield Comfyui(rig.engine, rig.process, rig.http, stand_in, direct)


def size(content: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(content)) as image:
        return image.size


# --- images ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["flux", "sd3", "sd15"])
async def test_a_prompt_becomes_an_image_in_json_or_as_it_is(tmp_path: Path, model: str) -> None:
    async with comfyui(tmp_path, COMFYUI_MODEL=model) as rig:
        status, body = await rig.post("/prompt", SMALL)
        assert (status, body["status"]) == (200, "completed")
        (image,) = body["images"]
        assert (image["mimetype"], size(base64.b64decode(image["data"]))) == ("image/png", (64, 64))

        async with rig.http.post("/prompt", json=rig.envelope({**SMALL, "output": "file"})) as response:
            assert (response.status, response.content_type) == (200, "image/png")
            assert "pyworker_" in response.headers["Content-Disposition"]
            assert size(await response.read()) == (64, 64)


async def test_a_workflow_of_the_clients_own_may_make_several_files(tmp_path: Path) -> None:
    async with comfyui(tmp_path) as rig:
        workflow = {"a": SAVE, "b": SAVE, "c": {"class_type": "PreviewImage", "inputs": {}}}
        status, body = await rig.post("/custom-workflow", {"workflow": workflow})
        assert (status, [image["node_id"] for image in body["images"]]) == (200, ["a", "b"])
        asked = {"workflow": workflow, "output": "file"}
        async with rig.http.post("/custom-workflow", json=rig.envelope(asked)) as response:
            assert (response.status, response.content_type) == (200, "multipart/mixed")
            parts = aiohttp.MultipartReader.from_response(response)
            contents = [bytes(await part.read()) async for part in parts if isinstance(part, aiohttp.BodyPartReader)]
        assert [size(content) for content in contents] == [(1024, 1024)] * 2


async def test_the_wrappers_api_answers_with_its_envelope(tmp_path: Path) -> None:
    async with comfyui(tmp_path) as rig:
        asked = {"request_id": "mine", "modifier": "Text2Image", "modifications": SMALL}
        status, body = await rig.post("/generate/sync", {"input": asked})
        assert (status, body["id"], body["status"], body["comfyui_response"]) == (200, "mine", "completed", {})
        assert body["timings"].keys() == {"preprocess_ms", "generation_ms", "postprocess_ms"}
        (output,) = body["output"]
        assert (output["node_id"], output["type"], output["output_type"]) == ("saved", "output", "images")
        assert size(base64.b64decode(output["data"])) == (64, 64)

        *progress, last = await rig.stream("/generate/stream", {"input": asked})
        assert {event["status"] for event in progress} == {"generating"}
        assert (last["status"], last["request_id"], last["result"]["status"]) == ("final_result", "mine", "completed")


async def test_progress_is_streamed_step_by_step(tmp_path: Path) -> None:
    async with comfyui(tmp_path, step_s=0.05) as rig:
        events = await rig.stream("/prompt", {**SMALL, "steps": 6, "stream": True})
        assert (events[0]["status"], events[-1]["status"]) == ("queued", "completed")
        steps = [(event["value"], event["max"]) for event in events if event["status"] == "progress"]
        assert steps[-1] == (6, 6)
        assert steps == sorted(steps)
        assert len(events[-1]["images"]) == 1


# --- what goes wrong ------------------------------------------------------------------------------


async def test_errors_of_a_workflow_are_told_in_comfyuis_own_words_and_counted(tmp_path: Path) -> None:
    async with comfyui(tmp_path) as rig:
        unknown = {"workflow": {"1": {"class_type": "Nope", "inputs": {}}}}
        status, body = await rig.post("/custom-workflow", unknown)
        assert (status, body["error"]["message"]) == (422, "Cannot execute because node Nope does not exist.")

        missing = {"1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "missing.safetensors"}}}
        status, body = await rig.post("/custom-workflow", {"workflow": {**missing, "2": SAVE}})
        assert (status, body["error"]["type"]) == (422, "prompt_outputs_failed_validation")
        assert body["node_errors"]["1"]["errors"][0]["message"] == "Value not in list"

        failing = {"1": {"class_type": "StandInError", "inputs": {"message": "out of memory"}}, "2": SAVE}
        error = {"type": "RuntimeError", "message": "out of memory", "node_id": "1", "node_type": "StandInError"}
        status, body = await rig.post("/custom-workflow", {"workflow": failing})
        assert (status, body["error"]) == (422, error)

        status, body = await rig.post("/generate/sync", {"input": {"workflow_json": failing}})
        assert (status, body["status"], body["message"]) == (422, "failed", "RuntimeError: out of memory")

        *_, last = await rig.stream("/custom-workflow", {"workflow": failing, "stream": True})
        assert (last["status"], last["error"]) == ("failed", error)
        assert await rig.outcomes(5) == ["Error"] * 5


async def test_somebody_who_interrupts_comfyui_is_not_the_clients_fault(tmp_path: Path) -> None:
    async with comfyui(tmp_path) as rig:
        asking = asyncio.create_task(rig.post("/prompt", ENDLESS))
        await rig.becomes(running=1)
        async with rig.direct.post("/interrupt"):
            pass
        assert await asking == (502, {**(await asking)[1], "error": "somebody interrupted ComfyUI"})


async def test_comfyui_that_dies_in_the_middle_is_a_502(tmp_path: Path) -> None:
    async with comfyui(tmp_path) as rig:
        asking = asyncio.create_task(rig.post("/prompt", ENDLESS))
        await rig.becomes(running=1)
        rig.stand_in.kill()
        status, body = await asking
        assert (status, body["status"]) == (502, "failed")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_has_its_prompt_interrupted(tmp_path: Path, stream: bool) -> None:
    async with comfyui(tmp_path, step_s=0.05) as rig:
        asking = asyncio.create_task(rig.post("/prompt", {**ENDLESS, "stream": stream}))
        ((_, prompt_id, *_),) = await rig.becomes(running=1)
        asking.cancel()
        await rig.becomes(running=0)
        history = await rig.history(prompt_id)
        assert history["status"]["messages"][-1][0] == "execution_interrupted"
        status, body = await rig.post("/prompt", SMALL)  # the slot is free
        assert (status, body["status"]) == (200, "completed")
        assert await rig.outcomes(2) == ["Cancelled", "Success"]


async def test_a_client_that_leaves_at_any_moment_leaves_no_prompt_behind(tmp_path: Path) -> None:
    """Before the prompt is sent, on its way to ComfyUI, before its answer, while it is followed."""
    async with comfyui(tmp_path, step_s=0.05) as rig:
        for attempt in range(12):
            asking = asyncio.create_task(rig.post("/prompt", ENDLESS))
            await asyncio.wait([asking], timeout=attempt * 0.001)
            asking.cancel()
        await rig.becomes(running=0)
        status, _ = await rig.post("/prompt", SMALL)
        assert status == 200
        await rig.becomes(running=0)


async def test_what_a_killed_worker_has_left_is_swept_out_of_the_queue(tmp_path: Path) -> None:
    async with comfyui(tmp_path, step_s=0.05) as rig:
        sampler = {"class_type": "KSampler", "inputs": {"steps": 10_000}}
        for client_id in (f"pyworker-{rig.process.port}-one", f"pyworker-{rig.process.port}-two"):
            orphan = {"prompt": {"1": sampler, "2": SAVE}, "client_id": client_id}
            async with rig.direct.post("/prompt", json=orphan) as response:
                assert response.status == 200
        status, _ = await rig.post("/prompt", SMALL)
        assert status == 200
        await rig.becomes(running=0)


# --- storage and webhooks -------------------------------------------------------------------------


@dataclass
class Storage:
    """An S3 server on this machine, and how it is reached."""

    url: str

    def keys(self, **fields: str) -> dict[str, str]:
        keys = {"access_key_id": "id", "secret_access_key": "key", "endpoint_url": self.url, "bucket_name": "images"}
        return {**keys, **fields}


@pytest.fixture
def storage() -> Any:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Storage(f"http://{host}:{port}")
    server.stop()


async def make_bucket(storage: Storage) -> None:
    async with aiohttp.ClientSession() as http, http.put(f"{storage.url}/images") as response:
        assert response.status == 200


async def test_images_are_stored_and_their_addresses_show_them(tmp_path: Path, storage: Storage) -> None:
    await make_bucket(storage)
    own = {f"S3_{name.upper()}": value for name, value in storage.keys().items()}
    async with comfyui(tmp_path, **own) as rig, aiohttp.ClientSession() as http:
        status, body = await rig.post("/prompt", {**SMALL, "output": "s3"})
        (image,) = body["images"]
        assert (status, image.keys()) == (200, {"filename", "node_id", "url"})
        async with http.get(image["url"]) as response:
            assert (response.status, response.content_type) == (200, "image/png")
            assert size(await response.read()) == (64, 64)

        asked = {"modifier": "Text2Image", "modifications": SMALL, "return_outputs_as_base64": True}
        status, body = await rig.post("/generate/sync", {"input": asked})
        (output,) = body["output"]
        assert (status, "url" in output, "data" in output) == (200, True, True)


async def test_an_image_that_cannot_be_stored_is_handed_over_instead(tmp_path: Path, storage: Storage) -> None:
    async with comfyui(tmp_path, COMFYUI_ALLOWED_HOSTS="127.0.0.1") as rig:
        status, body = await rig.post("/prompt", {**SMALL, "output": "s3", "s3": storage.keys(bucket_name="nowhere")})
        (image,) = body["images"]
        assert (status, "NoSuchBucket" in image["upload_error"], size(base64.b64decode(image["data"]))) == (
            200,
            True,
            (64, 64),
        )


async def test_an_upload_keeps_content_and_type(storage: Storage) -> None:
    await make_bucket(storage)
    url = await upload(Bucket.from_json(storage.keys(), None), "a/b c.webp", b"content", "image/webp")
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        assert (response.content_type, await response.read()) == ("image/webp", b"content")


async def test_a_webhook_is_told_what_became_of_a_request(tmp_path: Path) -> None:
    async with FakeServer(default=answer()) as hooks, comfyui(tmp_path, COMFYUI_ALLOWED_HOSTS="127.0.0.1") as rig:
        webhook = {"url": f"{hooks.url}/done", "extra_params": {"mine": 1}}
        asked = {"request_id": "r", "modifier": "sd15", "modifications": SMALL, "webhook": webhook}
        await rig.post("/generate/sync", {"input": asked})
        told = (await hooks.requests.next()).json()
        assert (told["id"], told["status"], told["extra"]) == ("r", "completed", {"mine": 1})
        assert "comfyui_response" not in told
