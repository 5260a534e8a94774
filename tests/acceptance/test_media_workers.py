"""`pyworker up` with the workers for images and for TGI on this machine, and their client.py and test_load.py."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pyworker.testing import free_port
from tests.support.commands import PYWORKER, Ended, run, running

PNG = b"\x89PNG\r\n\x1a\n"


@asynccontextmanager
async def up(target: str, folder: Path) -> AsyncIterator[dict[str, str]]:
    """The environment of a client of a deployment that is up."""
    options = ("--port", str(free_port()), "--data-dir", str(folder / "data"), "--json")
    async with running(*PYWORKER, "up", target, *options) as command:
        said = json.loads(await command.line())
        yield {"PYWORKER_API_KEY": said["api_key"], "ENGINE": said["url"]}
        command.signal(signal.SIGTERM)
        await command.ended()


async def script(module: str, env: dict[str, str], endpoint: str, *args: str) -> Ended:
    return await run(sys.executable, "-m", module, "-e", endpoint, "--engine", env["ENGINE"], *args, env=env)


def images(folder: Path) -> list[Path]:
    """The one that lies there, if it is a PNG."""
    (made,) = folder.glob("*.png")
    assert made.read_bytes().startswith(PNG)
    return [made]


@pytest.mark.limit_s(150)
async def test_images_are_repainted_through_an_engine_as_forms_and_as_json(tmp_path: Path) -> None:
    async with up("workers/image", tmp_path) as env:
        ended = await script("workers.image.client", env, "image", "--style", "3:0.5,12:0.5", "--out", str(tmp_path))
        assert (ended.status, ended.err) == (0, "")
        first, second = ((tmp_path / name).read_bytes() for name in ("stylized.png", "stylized-json.png"))
        assert first == second
        assert first.startswith(PNG)
        ended = await script("workers.image.client", env, "image", "--style", "99", "--out", str(tmp_path))
        assert ended.status == 1
        assert "/stylize answers 422" in ended.err
        ended = await script("workers.image.test_load", env, "image", "-n", "3", "-rps", "5")
        assert ended.status == 0, ended.out
        assert re.search(r"^ok +3$", ended.out, re.MULTILINE)


@pytest.mark.limit_s(150)
async def test_an_image_is_made_through_an_engine_and_its_steps_are_shown(tmp_path: Path) -> None:
    async with up("workers/comfyui/stand_in.toml", tmp_path) as env:
        size = ("--width", "64", "--height", "64", "--steps", "4", "--out", str(tmp_path))
        ended = await script("workers.comfyui.client", env, "comfyui", *size)
        assert ended.status == 0, ended.err
        assert "step 4 of 4" in ended.err
        assert ended.out == "".join(f"{made}\n" for made in images(tmp_path))
        ended = await script("workers.comfyui.client", env, "comfyui", "--width", "65")
        assert ended.status == 1
        assert "multiple of 8" in ended.err
        ended = await script("workers.comfyui.test_load", env, "comfyui", "-n", "2", "-rps", "5")
        assert ended.status == 0, ended.out


@pytest.mark.limit_s(150)
async def test_text_comes_through_an_engine_by_all_routes_of_tgi(tmp_path: Path) -> None:
    async with up("workers/tgi/stand_in.toml", tmp_path) as env:
        asked = ("--prompt", "over and out", "--max-new-tokens", "3")
        ended = await script("workers.tgi.client", env, "tgi", *asked)
        assert ended.status == 0, ended.err
        assert re.findall(r"^(\S+):\n +(.*)$", ended.out, re.MULTILINE) == [
            ("/generate", "over and out"),
            ("/generate_stream", "over and out"),
            ("/v1/chat/completions", "over and out"),
        ]
        ended = await script("workers.tgi.client", env, "tgi", "--prompt", "fail late")
        assert ended.status == 1
        assert "/generate_stream broke off: Request failed during generation" in ended.err
        ended = await script("workers.tgi.test_load", env, "tgi", "-n", "3", "-rps", "5")
        assert ended.status == 0, ended.out
