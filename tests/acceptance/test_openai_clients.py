"""The official openai clients, Python's and npm's, stream chats of hello_world's real model through a gateway."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any, Final

import openai
import pytest

from tests.support.commands import run
from tests.support.hello_site import API_KEY, HelloSite, hello_site

pytestmark = pytest.mark.limit_s(240)

NPM_OPENAI: Final = "openai@7.57.0"
ASKED: Final[dict[str, Any]] = {
    "model": "any",
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "max_tokens": 20,
}
SCRIPT: Final = """
import OpenAI from "openai";

const [baseURL, apiKey, asked] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const stream = await client.chat.completions.create({ ...JSON.parse(asked), stream: true });
const texts = [];
for await (const event of stream) {
  const text = event.choices[0]?.delta?.content;
  if (text) texts.push(text);
}
const whole = await client.chat.completions.create(JSON.parse(asked));
const models = await client.models.list();
const refused = await client.chat.completions.create({ messages: 7 }).catch((error) => error.status);
console.log(JSON.stringify({
  texts, whole: whole.choices[0].message.content, models: models.data.map((model) => model.id), refused,
}));
"""


async def test_python_streams_a_chat_from_an_endpoint_that_was_at_zero(tmp_path: Path) -> None:
    async with hello_site(tmp_path) as site:
        await site.scale_to_zero()
        async with openai.AsyncOpenAI(base_url=_base(site), api_key=API_KEY, max_retries=0) as client:
            texts = await _streamed(client)
            assert len([text for text in texts if text.strip()]) > 3, "word by word"
            whole = await client.chat.completions.create(**ASKED)
            assert (whole.choices[0].message.content or "").strip()
            (model,) = (await client.models.list()).data
            assert (model.id, "/" in model.id) == (whole.model, False)
            with pytest.raises(openai.BadRequestError):
                await client.chat.completions.create(model="any", messages=7)  # type: ignore[arg-type]


async def test_npm_streams_a_chat_from_an_endpoint_that_was_at_zero(tmp_path: Path) -> None:
    folder = tmp_path / "npm"
    folder.mkdir()
    await _install(folder)
    (folder / "chat.mjs").write_text(SCRIPT)
    async with hello_site(tmp_path) as site:
        await site.scale_to_zero()
        ended = await run("node", str(folder / "chat.mjs"), _base(site), API_KEY, json.dumps(ASKED))
    assert (ended.status, ended.err) == (0, "")
    said = json.loads(ended.out)
    assert len([text for text in said["texts"] if text.strip()]) > 3, "word by word"
    assert said["whole"].strip()
    assert (len(said["models"]), said["refused"]) == (1, 400)


def _base(site: HelloSite) -> str:
    return f"{site.url}/openai/hello/v1"


async def _streamed(client: openai.AsyncOpenAI) -> list[str]:
    events = await client.chat.completions.create(**ASKED, stream=True)
    return [
        event.choices[0].delta.content async for event in events if event.choices and event.choices[0].delta.content
    ]


async def _install(folder: Path) -> None:
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed here")
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0", "--prefix", str(folder))
    try:
        async with asyncio.timeout(60):
            ended = await run("npm", "install", *options, NPM_OPENAI)
    except TimeoutError:
        pytest.skip(f"{NPM_OPENAI} did not come within 60 s")
    if ended.status != 0:
        pytest.skip(f"{NPM_OPENAI} cannot be had here: {ended.err.strip().splitlines()[-1:]}")
