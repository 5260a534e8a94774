"""The image worker and its model, as processes: forms and PNGs through the worker, JSON in, bad images told."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from PIL import Image

from tests.support.worker_rig import WorkerRig, model_process, ready_worker
from workers.image.data_types import random_image

PHOTO = random_image(96)


@asynccontextmanager
async def image_worker(folder: Path) -> AsyncIterator[WorkerRig]:
    async with model_process("workers.image.model_server", "the image model answers on ", "--threads", "1") as model:
        loaded = (folder / "model.log", f"the image model answers on {model[1]}")
        async with ready_worker("workers.image.server", model[1], loaded=loaded) as rig:
            yield rig


def form(image: bytes | None = PHOTO, **fields: str) -> aiohttp.FormData:
    data = aiohttp.FormData(fields, default_to_multipart=True)
    if image is not None:
        data.add_field("image", image, filename="photo.png", content_type="image/png")
    return data


def size(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return image.size


async def test_images_go_in_and_out_by_both_routes_and_what_is_wrong_is_told(tmp_path: Path) -> None:
    async with image_worker(tmp_path) as rig:
        async with rig.http.post("/stylize", data=form(style="7"), headers=rig.header()) as response:
            assert (response.status, response.content_type) == (200, "image/png")
            binary = await response.read()
        assert size(binary) == (96, 96)
        assert binary != PHOTO

        asked = {"image": base64.b64encode(PHOTO).decode(), "style": 7}
        async with rig.http.post("/stylize/json", json=rig.envelope(asked)) as response:
            assert (response.status, response.content_type) == (200, "image/png")
            assert await response.read() == binary

        mixed = {**asked, "style_image": asked["image"], "max_size": 64, "preserve_color": True, "strength": 0.5}
        async with rig.http.post("/stylize/json", json=rig.envelope(mixed)) as response:
            assert size(await response.read()) == (64, 64)

        for fields, words in [
            ({"style": "99"}, "style index must be 0 to 25"),
            ({"strength": "nan"}, "strength is 'nan': expected a number"),
            ({"preserve_color": "perhaps"}, "expected true or false"),
            ({"max_size": "8"}, "max_size must be from 32 to 4096"),
        ]:
            async with rig.http.post("/stylize", data=form(**fields), headers=rig.header()) as response:
                assert response.status == 422
                assert words in (await response.json())["error"]
        for image, words in [(None, "image is missing"), (b"GIF89a", "no image"), (PHOTO[:1000], "damaged")]:
            async with rig.http.post("/stylize", data=form(image), headers=rig.header()) as response:
                assert response.status == 422
                assert words in (await response.json())["error"]
        status, body = await rig.post("/stylize/json", {"image": "aGFsbG8="})
        assert (status, body) == (422, {"payload": {"image": "expected an image: PNG, JPEG, WebP, ..."}})


async def test_a_form_without_a_proof_does_not_reach_the_model(tmp_path: Path) -> None:
    async with (
        image_worker(tmp_path) as rig,
        rig.http.post("/stylize", data=form()) as response,
    ):
        assert response.status == 401


@pytest.mark.parametrize("path", ["/stylize"])
async def test_what_is_no_form_is_told_what_to_send(path: str) -> None:
    async with (
        model_process("workers.image.model_server", "the image model answers on ", "--threads", "1") as (process, url),
        aiohttp.ClientSession(url) as http,
    ):
        async with http.post(path, json={}) as response:
            assert (response.status, "multipart/form-data" in await response.text()) == (422, True)
        process.terminate()
        assert await process.ended() == 0


async def test_a_port_that_is_taken_is_said_in_the_log() -> None:
    async with model_process("workers.image.model_server", "the image model answers on ", "--threads", "1") as (_, url):
        port = url.rpartition(":")[2]
        async with model_process("workers.image.model_server", "cannot start the model server on ", "--port", port) as (
            process,
            _,
        ):
            assert await process.ended() == 1
