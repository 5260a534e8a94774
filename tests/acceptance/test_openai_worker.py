"""The official openai client, an engine, the OpenAI worker as a process, and llama.cpp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from pyworker.engine.deployment import load
from pyworker.testing import FakeModel, FakeRequest, WorkerProcess, answer
from tests.docs.pages import blocks
from tests.support.commands import PYWORKER, run
from tests.support.engines import API_KEY, EngineUnderTest, an_engine
from tests.support.llama_server import llama_server
from tests.support.source import ROOT
from tests.support.tiny_model import write_tiny_model
from workers.openai.client import connect, connect_async

pytestmark = pytest.mark.limit_s(90)

PAGE = list(blocks(ROOT / "docs" / "how-to" / "serve-openai.md"))
WORKER, CLIENT = (
    next(block.text for block in PAGE if block.check == f"openai {what}") for what in ("worker", "client")
)
SHORT = {"BENCHMARK_RUNS": "1", "BENCHMARK_CONCURRENCY": "2", "BENCHMARK_WORDS": "20", "BENCHMARK_TOKENS": "20"}
HELLO: Any = [{"role": "user", "content": "Say something."}]
CHAT: dict[str, Any] = {"model": "tiny", "messages": HELLO, "max_tokens": 12}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with llama_server(tmp_path_factory.mktemp("llama")) as url:
        yield url


@asynccontextmanager
async def joined(
    engine: EngineUnderTest, folder: Path, target: str, model_url: str, **env: str
) -> AsyncGenerator[WorkerProcess]:
    """A worker of the engine that is ready, with tickets."""
    token = await engine.token()
    place = {
        "CONTAINER_ID": "1",
        "REPORT_ADDR": engine.url,
        "MASTER_TOKEN": token.mtoken,
        "PYWORKER_TICKET_KEY": token.ticket_key or "",
        "PYWORKER_TICKET_KEY_ID": token.ticket_key_id or "",
        "UNSECURED": "false",
    }
    async with WorkerProcess([*PYWORKER, "run", target], env={**place, **_model(folder, model_url), **env}) as worker:
        await worker.ready()
        yield worker


@asynccontextmanager
async def unsecured(folder: Path, target: str, model_url: str, **env: str) -> AsyncGenerator[WorkerProcess]:
    """A worker on a laptop: no engine, no signatures."""
    async with WorkerProcess([*PYWORKER, "run", target], env={**_model(folder, model_url), **env}) as worker:
        await worker.ready()
        yield worker


def _model(folder: Path, url: str) -> dict[str, str]:
    return {"MODEL_SERVER_URL": url, "OPENAI_SERVER": "llamacpp", "PYWORKER_STATE_DIR": str(folder / "state"), **SHORT}


@asynccontextmanager
async def routed(engine: EngineUnderTest, api_key: str = API_KEY) -> AsyncGenerator[openai.AsyncOpenAI]:
    async with await asyncio.to_thread(connect_async, engine.url, api_key, "default") as client:
        yield client


def direct(worker: WorkerProcess) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{worker.url}/v1", api_key="none", max_retries=0)


async def metric(worker: WorkerProcess, name: str) -> float:
    async with aiohttp.ClientSession() as http, http.get(f"{worker.url}/pyworker/metrics") as page:
        lines = (await page.text()).splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(name))


async def served(worker: WorkerProcess) -> float:
    """The workload served, once nothing is in flight."""
    while await metric(worker, "pyworker_workload_in_flight"):  # noqa: ASYNC110 - it is in another process
        await asyncio.sleep(0.02)
    return await metric(worker, 'pyworker_workload_total{outcome="served"}')


# --- through an engine ----------------------------------------------------------------------------


async def test_ten_lines_serve_the_openai_client_with_streams_through_engine_and_worker(
    tmp_path: Path, llama: str
) -> None:
    """The worker and the client of docs/how-to/serve-openai.md."""
    assert len([line for line in WORKER.splitlines() if line]) < 10
    (tmp_path / "worker.py").write_text(WORKER)
    async with an_engine() as engine, joined(engine, tmp_path, str(tmp_path / "worker.py"), llama):
        env = {"PYWORKER_ENGINE": engine.url, "PYWORKER_API_KEY": API_KEY}
        ended = await run(PYWORKER[0], "-c", CLIENT, env=env)
        assert (ended.status, ended.err) == (0, "")
        assert len(ended.out.split()) > 5
        async with routed(engine) as client:
            whole = await client.chat.completions.create(**CHAT)
            assert whole.choices[0].message.content
            events = [event async for event in await client.chat.completions.create(**CHAT, stream=True)]
            assert len([event for event in events if event.choices and event.choices[0].delta.content]) == 12


async def test_load_is_counted_as_the_server_counts_it(tmp_path: Path, llama: str) -> None:
    """Not as the client's max_tokens would have it; streams with their usage, and llama.cpp's without."""
    async with (
        an_engine() as engine,
        joined(engine, tmp_path, "workers/openai", llama) as worker,
        routed(engine) as client,
    ):
        whole = await client.completions.create(model="tiny", prompt="one two", max_tokens=2000, stop=" ")
        assert whole.usage is not None
        assert await served(worker) == whole.usage.total_tokens
        stream = await client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True})
        counts = [event.usage.total_tokens async for event in stream if event.usage]
        assert await served(worker) == whole.usage.total_tokens + counts[-1]
        async for _ in await client.chat.completions.create(**CHAT, stream=True):
            pass
        assert await served(worker) == whole.usage.total_tokens + 2 * counts[-1]
        assert await metric(worker, "pyworker_bad_workloads_total") == 0


async def test_models_responses_and_the_servers_own_errors_come_through(tmp_path: Path, llama: str) -> None:
    async with an_engine() as engine, joined(engine, tmp_path, "workers/openai", llama), routed(engine) as client:
        assert [model.id for model in (await client.models.list()).data] == ["tiny"]
        response = await client.responses.create(model="tiny", input="Say something.", max_output_tokens=5)
        assert response.output_text
        with pytest.raises(openai.BadRequestError, match="Expected 'messages' to be an array"):
            await client.chat.completions.create(model="tiny", messages="none")  # pyright: ignore[reportArgumentType,reportCallIssue]


async def test_the_gateway_is_a_way_too(tmp_path: Path, llama: str) -> None:
    async with an_engine() as engine, joined(engine, tmp_path, "workers/openai", llama) as worker:
        base_url = f"{engine.url}/openai/default/v1"
        async with openai.AsyncOpenAI(base_url=base_url, api_key=API_KEY, max_retries=0) as client:
            whole = await client.chat.completions.create(**CHAT)
            assert whole.usage is not None
            assert await served(worker) == whole.usage.total_tokens
            assert [event async for event in await client.chat.completions.create(**CHAT, stream=True)]


async def test_the_client_that_blocks_works_too(tmp_path: Path, llama: str) -> None:
    async with an_engine() as engine, joined(engine, tmp_path, "workers/openai", llama):

        def ask() -> tuple[str, int]:
            with connect(engine.url, API_KEY, "default") as client:
                whole = client.chat.completions.create(**CHAT).choices[0].message.content
                return whole or "", len(list(client.chat.completions.create(**CHAT, stream=True)))

        text, events = await asyncio.to_thread(ask)
        assert text
        assert events > 12


async def test_a_wrong_key_is_the_engines_answer_and_the_key_reaches_no_worker(tmp_path: Path) -> None:
    async with (
        FakeModel(health_path="/health", default=answer({"usage": {"total_tokens": 5}})) as model,
        an_engine() as engine,
    ):
        async with joined(engine, tmp_path, "workers/openai", model.url):
            async with routed(engine, "wrong") as client:
                with pytest.raises(openai.AuthenticationError):
                    await client.chat.completions.create(**CHAT)
            async with routed(engine) as client:
                await client.chat.completions.create(**CHAT)
        asked = next(request for request in model.requests if request.path == "/v1/chat/completions")
        assert API_KEY not in str(asked.headers)
        assert "X-Auth-Data" not in asked.headers


async def test_the_client_waits_while_no_worker_is_ready(tmp_path: Path, llama: str) -> None:
    async with an_engine() as engine, routed(engine) as client:
        asked = asyncio.create_task(client.chat.completions.create(**CHAT))
        async with joined(engine, tmp_path, "workers/openai", llama):
            assert (await asked).choices[0].message.content


async def test_client_py_and_test_load_py_call_the_endpoint(tmp_path: Path, llama: str) -> None:
    async with an_engine() as engine, joined(engine, tmp_path, "workers/openai", llama):
        place = ("-e", "default", "--engine", engine.url, "-k", API_KEY)
        ended = await run(*_script("openai.client"), *place, "--max-tokens", "8")
        assert (ended.status, ended.err) == (0, "")
        assert ended.out.startswith("models: tiny\n")
        assert ended.out.rstrip().endswith("tokens")
        ended = await run(*_script("openai.test_load"), *place, "-n", "3", "-rps", "50")
        assert (ended.status, ended.err) == (0, "")
        ended = await run(*_script("openai.client"), *place[:-2], "-k", "wrong")
        assert ended.status == 1
        assert ended.err.startswith("error: Error code: 401")


def _script(name: str) -> tuple[str, ...]:
    return (PYWORKER[0], "-m", f"workers.{name}")


# --- on a laptop ----------------------------------------------------------------------------------


async def test_without_signatures_the_client_calls_the_worker_itself(tmp_path: Path, llama: str) -> None:
    async with unsecured(tmp_path, "workers/openai", llama) as worker, direct(worker) as client:
        whole = await client.chat.completions.create(**CHAT)
        assert whole.choices[0].message.content
        assert [event async for event in await client.chat.completions.create(**CHAT, stream=True)]
        assert [model.id for model in (await client.models.list()).data] == ["tiny"]


async def test_what_llama_cpp_does_not_serve_goes_through_all_the_same(tmp_path: Path) -> None:
    """Recordings as forms, speech as bytes, pictures, reranking."""

    async def transcribe(request: FakeRequest) -> None:
        assert request.headers["Content-Type"].startswith("multipart/form-data")
        assert b"RIFF-a-recording" in request.body
        await request.answer({"text": "hello", "usage": {"type": "duration", "seconds": 4}})

    async with FakeModel(health_path="/health", default=answer({"usage": {"total_tokens": 5}})) as model:
        for path in ("/v1/audio/transcriptions", translations := "/v1/audio/translations"):
            model.on(path, transcribe)
        model.on("/v1/audio/speech", answer(b"\xff\xfb\x00music", headers={"Content-Type": "audio/mpeg"}))
        model.on("/v1/images/generations", answer({"created": 1, "data": [{"b64_json": "AAAA"}]}))
        model.on(
            "/v1/rerank", answer({"results": [{"index": 0, "relevance_score": 0.5}], "usage": {"total_tokens": 9}})
        )
        async with unsecured(tmp_path, "workers/openai", model.url) as worker, direct(worker) as client:
            recording = ("a.wav", b"RIFF-a-recording", "audio/wav")
            assert (await client.audio.transcriptions.create(model="w", file=recording)).text == "hello"
            assert await served(worker) == 4 * 50
            form = aiohttp.FormData({"model": "w"})
            form.add_field("file", recording[1], filename="a.wav", content_type="audio/wav")
            async with aiohttp.ClientSession() as http, http.post(f"{worker.url}{translations}", data=form) as reply:
                assert (reply.status, (await reply.json())["text"]) == (200, "hello")
            spoken = await client.audio.speech.create(model="s", voice="alloy", input="Good evening")
            assert spoken.content == b"\xff\xfb\x00music"
            made = await client.images.generate(model="i", prompt="a plum", size="512x512")
            assert made.data is not None
            assert made.data[0].b64_json == "AAAA"
            before = await served(worker)
            ranked = await client.post("/rerank", body={"query": "a", "documents": ["b"]}, cast_to=dict[str, Any])
            assert ranked["results"][0]["index"] == 0
            assert await served(worker) == before + 9


async def test_the_benchmark_sends_prompts_that_begin_differently(tmp_path: Path) -> None:
    async with (
        FakeModel(health_path="/health", default=answer({"usage": {"total_tokens": 5}})) as model,
        unsecured(tmp_path, "workers/openai", model.url, MODEL_NAME="plum"),
    ):
        asked = [request.json() for request in model.requests if request.path == "/v1/completions"]
    assert len(asked) == 3
    assert len({" ".join(request["prompt"].split()[:5]) for request in asked}) == 3
    assert {(request["model"], request["max_tokens"]) for request in asked} == {("plum", 20)}


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({"OPENAI_SERVER": "vlm"}, "OPENAI_SERVER is 'vlm'; it takes one of"),
        ({"OPENAI_SERVER": "ollama"}, "MODEL_NAME is not set"),
        ({"BENCHMARK_RUNS": "many"}, "BENCHMARK_RUNS is 'many'; give a whole number"),
    ],
)
async def test_a_variable_that_cannot_be_is_named(env: dict[str, str], why: str) -> None:
    ended = await run(*PYWORKER, "run", "workers/openai", env={"UNSECURED": "true", **env})
    assert ended.status == 1
    assert why in ended.out + ended.err


# --- embeddings -----------------------------------------------------------------------------------


async def test_embeddings_are_served_and_counted_in_tokens(tmp_path: Path) -> None:
    with llama_server(tmp_path, embeddings=True) as llama:
        async with an_engine() as engine, joined(engine, tmp_path, "workers/embeddings", llama) as worker:
            async with routed(engine) as client:
                got = await client.embeddings.create(model="tiny", input=["one two", "three"])
                assert [len(item.embedding) for item in got.data] == [64, 64]
                assert await served(worker) == got.usage.total_tokens
            place = ("-e", "default", "--engine", engine.url, "-k", API_KEY)
            ended = await run(*_script("embeddings.client"), *place, "a plum", "a plum")
            assert (ended.status, ended.out) == (0, "1.000  a plum\n1.000  a plum\n")
            ended = await run(*_script("embeddings.test_load"), *place, "-n", "3", "-rps", "50")
            assert (ended.status, ended.err) == (0, "")


# --- deployments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["openai", "embeddings"])
async def test_its_deployment_starts_a_worker_before_llama_cpp(tmp_path: Path, name: str) -> None:
    """As the engine would, with the tiny model instead of SmolLM2."""
    (group,) = (await asyncio.to_thread(load, ROOT / "workers" / name, {})).groups
    assert group.launch is not None
    assert group.launch.model
    _, *model_args = group.launch.model
    _, *worker_args = group.launch.worker
    tiny = ("--model", str(await asyncio.to_thread(write_tiny_model, tmp_path / "tiny.gguf")))
    port = str(WorkerProcess(["-m", "x"]).port)
    log = tmp_path / "model.log"
    with log.open("wb") as out:
        args = [argument.format(model_port=port) for argument in model_args]
        server = await asyncio.create_subprocess_exec(PYWORKER[0], *args, *tiny, cwd=ROOT, stdout=out, stderr=out)
    try:
        place = {**group.launch.environment, "MODEL_SERVER_URL": f"http://127.0.0.1:{port}", "MODEL_LOG": str(log)}
        env = {**place, "PYWORKER_STATE_DIR": str(tmp_path / "state")}
        async with WorkerProcess(worker_args, env=env, cwd=tmp_path) as worker, direct(worker) as client:
            await worker.ready()
            assert [model.id for model in (await client.models.list()).data] == ["smollm2"]
    finally:
        server.terminate()
        assert await server.wait() == 0
