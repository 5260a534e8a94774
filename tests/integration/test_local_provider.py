"""Workers on this machine, with real processes: how they start, end, and are found again."""

# ruff: noqa: ASYNC240 - what is waited for are files and processes
from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import stat
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pyworker.engine.core.parameters import Launch, Resources
from pyworker.engine.providers.base import Instance, InstanceSpec, InstanceState
from pyworker.engine.providers.external import ExternalProvider
from pyworker.engine.providers.local import LocalProvider
from pyworker.errors import ProviderError
from tests.support.disks import a_small_disk, fill
from tests.support.instances import (
    DEAF,
    DRAINING,
    IN_THE_BACKGROUND,
    LOOK_AGAIN_S,
    SAYS_ENVIRONMENT,
    SECRET,
    SERVER,
    environment_in,
    pids,
    python,
    runs,
    spec,
    until,
    until_gone,
    until_log,
)

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def local(data_dir: Path, gpus: tuple[str, ...] = ()) -> AsyncGenerator[LocalProvider]:
    provider = LocalProvider(data_dir, gpus=lambda: gpus)
    try:
        yield provider
    finally:
        await LocalProvider(data_dir).close()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "instances"


async def look(provider: LocalProvider, instance_id: int = 1) -> Instance:
    return next(instance for instance in await provider.list() if instance.id == instance_id)


def ports(data_dir: Path, instance_id: int = 1) -> dict[str, int]:
    return json.loads((data_dir / str(instance_id) / "ports.json").read_text())


# --- from the beginning to the end ----------------------------------------------------------------


@pytest.mark.uvloop_too
async def test_an_instance_is_created_stopped_started_again_and_destroyed(data_dir: Path) -> None:
    async with local(data_dir) as provider:
        assert await provider.list() == []
        await provider.create(spec())
        assert await provider.list() == [Instance(1, InstanceState.RUNNING)]
        first = pids(data_dir)
        await provider.stop(1)
        assert await provider.list() == [Instance(1, InstanceState.STOPPED)]
        assert not any(map(runs, first.values()))
        await provider.start(1)
        assert await provider.list() == [Instance(1, InstanceState.RUNNING)]
        await provider.destroy(1)
        assert await provider.list() == []
        assert list(data_dir.iterdir()) == []


async def test_a_worker_drains_before_its_model_server_ends(data_dir: Path) -> None:
    async with local(data_dir) as provider:
        await provider.create(spec(worker=python(DRAINING)))
        logs = data_dir / "1" / "logs"
        await until_log(logs / "worker.log", "started")
        await until_log(logs / "model.log", "started")
        stopping = asyncio.create_task(provider.stop(1))
        await until_log(logs / "worker.log", "draining")
        assert runs(pids(data_dir)["model server"])
        assert "asked to stop" not in (logs / "model.log").read_text()
        await stopping
        assert "drained" in (logs / "worker.log").read_text()
        assert "asked to stop" in (logs / "model.log").read_text()
        assert (await look(provider)) == Instance(1, InstanceState.STOPPED)


async def test_a_stop_may_be_cancelled_and_asked_again(data_dir: Path) -> None:
    async with local(data_dir) as provider:
        await provider.create(spec(worker=python(DRAINING)))
        await until_log(data_dir / "1/logs/worker.log", "started")
        stopping = asyncio.create_task(provider.stop(1))
        await until_log(data_dir / "1/logs/worker.log", "draining")
        stopping.cancel()
        await asyncio.wait([stopping])
        await provider.stop(1)
        assert (await look(provider)).state is InstanceState.STOPPED


async def test_a_creation_that_is_cancelled_is_whole_all_the_same(data_dir: Path) -> None:
    async with local(data_dir) as provider:
        creating = asyncio.create_task(provider.create(spec()))
        await asyncio.sleep(0)
        creating.cancel()
        await asyncio.wait([creating])
        assert creating.cancelled()
        await provider.create(spec())
        assert await provider.list() == [Instance(1, InstanceState.RUNNING)]


async def test_a_worker_that_does_not_end_is_killed_when_its_time_is_over(data_dir: Path) -> None:
    async with local(data_dir) as provider:
        await provider.create(spec(worker=python(DEAF), drain_s=-4.9))  # a margin of 5 s is added
        await until_log(data_dir / "1/logs/worker.log", "started")
        await until_log(data_dir / "1/logs/model.log", "started")
        await provider.stop(1)
        stopped = await look(provider)
        assert stopped.state is InstanceState.STOPPED
        assert stopped.reason == "the worker did not end in time and had to be killed"


async def test_destroy_does_not_wait_for_a_drain(data_dir: Path) -> None:
    async with local(data_dir) as provider:
        await provider.create(spec(worker=python(DEAF), model=python(DEAF), drain_s=3600))
        await until_log(data_dir / "1/logs/worker.log", "started")
        running = pids(data_dir)
        await provider.destroy(1)
        assert not any(map(runs, running.values()))
        assert await provider.list() == []


async def test_what_is_not_there_is_no_error_to_stop_or_destroy(data_dir: Path) -> None:
    async with local(data_dir) as provider:
        await provider.destroy(7)
        await provider.stop(7)
        with pytest.raises(ProviderError, match="there is no instance 7"):
            await provider.start(7)


async def test_close_stops_all_and_keeps_their_folders(data_dir: Path) -> None:
    async with local(data_dir) as provider:
        await asyncio.gather(*(provider.create(spec(number)) for number in (1, 2, 3)))
        running = [pid for number in (1, 2, 3) for pid in pids(data_dir, number).values()]
        assert len({port for number in (1, 2, 3) for port in ports(data_dir, number).values()}) == 9
        await provider.close()
        assert not any(map(runs, running))
        assert await provider.list() == [Instance(number, InstanceState.STOPPED) for number in (1, 2, 3)]
        with pytest.raises(ProviderError, match="the engine is ending"):
            await provider.start(1)


# --- what they find around them -------------------------------------------------------------------


async def test_processes_know_their_ports_and_folders_and_nothing_of_the_engine(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYWORKER_API_KEY", "the-engine's-own")
    monkeypatch.setenv("AWS_SECRET", "somebody-else's")
    arguments = ("{model_port}", "{worker_port}", "{folder}", '{"a": 1}')
    launch = spec(
        worker=python(SAYS_ENVIRONMENT, *arguments),
        model=python(SAYS_ENVIRONMENT),
        environment={"URL": "http://127.0.0.1:{model_port}/x", "PYWORKER_API_KEY": "never"},
        working_directory="{folder}",
    )
    async with local(data_dir) as provider:
        await provider.create(launch)
        logs = data_dir / "1" / "logs"
        said = await until_log(logs / "worker.log", "started with")
        worker, model = environment_in(said), environment_in(await until_log(logs / "model.log", "started with"))
        chosen = ports(data_dir)
    port = str(chosen["worker_port"])
    assert said.splitlines()[-1] == f'started with {chosen["model_port"]} {port} {data_dir}/1 {{"a": 1}}'
    assert worker["WORKER_PORT"] == worker[f"VAST_TCP_PORT_{port}"] == port
    assert worker["WORKER_HOST"] == worker["PUBLIC_IPADDR"] == "127.0.0.1"
    assert worker["MODEL_SERVER_URL"] == f"http://127.0.0.1:{chosen['model_port']}"
    assert worker["URL"] == f"{worker['MODEL_SERVER_URL']}/x"
    assert worker["MODEL_LOG"] == str(data_dir / "1/logs/model.log")
    assert worker["PYWORKER_STATE_DIR"] == str(data_dir / "1/state")
    assert worker["PYWORKER_DRAIN_S"] == "5"
    assert worker["MASTER_TOKEN"] == SECRET
    assert "MASTER_TOKEN" not in model
    for environment in (worker, model):
        assert environment["PATH"] == os.environ["PATH"]
        assert not {"PYWORKER_API_KEY", "AWS_SECRET"} & environment.keys()


async def test_a_restart_takes_the_same_ports_and_begins_the_logs_anew(data_dir: Path) -> None:
    async with local(data_dir) as provider:
        await provider.create(spec(model=python(SERVER, "{model_port}")))
        log = data_dir / "1/logs/model.log"
        first = await until_log(log, "started")
        await provider.stop(1)
        await provider.start(1)
        assert (await until_log(log, "started")).splitlines()[0] == first.splitlines()[0]
        assert "asked to stop" not in log.read_text()
        assert "asked to stop" in log.with_name("model.log.1").read_text()


async def test_a_port_that_is_taken_meanwhile_is_not_taken_again(data_dir: Path) -> None:
    async with local(data_dir) as provider:
        await provider.create(spec())
        await provider.stop(1)
        before = ports(data_dir)
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", before["model_port"]):
            await provider.start(1)
        assert ports(data_dir)["model_port"] != before["model_port"]
        assert ports(data_dir)["worker_port"] == before["worker_port"]


async def test_a_model_server_that_writes_its_log_by_itself_has_its_output_beside_it(data_dir: Path) -> None:
    async with local(data_dir) as provider:
        writes = f"import sys; open(sys.argv[1], 'w').write('its own words')\n{SERVER}"
        await provider.create(spec(model=python(writes, "{model_log}")))
        await until_log(data_dir / "1/logs/model.out", "started with")
        assert (data_dir / "1/logs/model.log").read_text() == "its own words"
        for log in ("model.log", "model.out"):  # prompts may be in either
            assert stat.S_IMODE((data_dir / "1/logs" / log).stat().st_mode) == 0o600


async def test_secrets_are_readable_by_nobody_else_and_are_not_shown(data_dir: Path) -> None:
    tells = f"import sys; print('my token is {SECRET}'); sys.exit(3)"
    async with local(data_dir) as provider:
        await provider.create(spec(worker=python(tells)))
        failed = await until(provider, InstanceState.FAILED)
        assert failed.reason == "the worker ended with status 3; its last lines: my token is ***"
        assert SECRET not in (data_dir / "1/ended.json").read_text()
        assert (await provider.logs(1))["worker.log"] == ["my token is ***"]
        assert SECRET not in repr(spec())
    assert stat.S_IMODE((data_dir / "1/instance.json").stat().st_mode) == 0o600
    for log in ("worker.log", "supervisor.log"):
        assert stat.S_IMODE((data_dir / "1/logs" / log).stat().st_mode) == 0o600
    assert stat.S_IMODE((data_dir / "1").stat().st_mode) == 0o700
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    assert SECRET in (data_dir / "1/instance.json").read_text()


# --- ends that nobody asked for -------------------------------------------------------------------


@pytest.mark.parametrize("what", ["worker", "model server"])
async def test_when_one_process_is_killed_the_other_ends_and_the_reason_says_which(data_dir: Path, what: str) -> None:
    async with local(data_dir) as provider:
        await provider.create(spec(worker=python(SERVER, "w"), model=python(SERVER, "m")))
        for log in ("worker.log", "model.log"):
            await until_log(data_dir / "1/logs" / log, "started")
        running = pids(data_dir)
        os.kill(running[what], signal.SIGKILL)
        failed = await until(provider, InstanceState.FAILED)
        assert failed.reason == (
            f"the {what} was ended by SIGKILL (was the machine out of memory?); its last lines: started with {what[0]}"
        )
        assert not any(map(runs, running.values()))
        ended = json.loads((data_dir / "1/ended.json").read_text())
        assert (ended["what"], ended["status"]) == (what, -signal.SIGKILL)


async def test_a_supervisor_that_is_killed_leaves_nothing(data_dir: Path) -> None:
    async with local(data_dir) as provider:
        await provider.create(spec(model=python(IN_THE_BACKGROUND)))
        log = await until_log(data_dir / "1/logs/model.log", "started")
        background = int(log.split()[1])
        running = pids(data_dir)
        os.kill(running["supervisor"], signal.SIGKILL)
        await until_gone(*running.values())  # by themselves
        failed = await until(provider, InstanceState.FAILED)
        assert failed.reason == "its supervisor was killed, or the machine was started anew"
        assert not runs(background)
        await provider.start(1)
        assert (await look(provider)).state is InstanceState.RUNNING


async def test_an_instance_whose_folder_is_removed_ends_because_nobody_could_find_it_any_more(data_dir: Path) -> None:
    async with local(data_dir) as provider:
        await provider.create(spec())
        running = pids(data_dir)
        shutil.rmtree(data_dir)
        os.kill(running["supervisor"], signal.SIGCHLD)  # it looks now, and not only every ten seconds
        await until_gone(*running.values())
        assert not data_dir.exists()


@pytest.mark.parametrize("how", ["stop", "killed"])
async def test_what_a_model_server_lets_go_of_ends_with_it(data_dir: Path, how: str) -> None:
    async with local(data_dir) as provider:
        await provider.create(spec(model=python(IN_THE_BACKGROUND)))
        log = await until_log(data_dir / "1/logs/model.log", "started")
        if how == "stop":
            await provider.stop(1)
        else:
            os.kill(pids(data_dir)["model server"], signal.SIGKILL)
            await until(provider, InstanceState.FAILED)
        assert not runs(int(log.split()[1]))


async def test_a_model_server_that_ends_at_once_says_why(data_dir: Path) -> None:
    fails = "import sys; print('loading'); sys.exit('no such weights: llama.gguf')"
    async with local(data_dir) as provider:
        await provider.create(spec(model=python(fails)))
        failed = await until(provider, InstanceState.FAILED)
    assert failed.reason == (
        "the model server ended with status 1; its last lines: loading | no such weights: llama.gguf"
    )


@pytest.mark.parametrize(
    ("launch", "words"),
    [
        ({"model": ("no-such-server",)}, r"the model server's command 'no-such-server' was not found: give its full"),
        ({"worker": ("no-such-worker",)}, r"the worker's command 'no-such-worker' was not found: .* launch\.worker"),
        ({"worker": ("/etc/passwd",)}, r"'/etc/passwd' may not be executed"),
        ({"worker": ()}, r"launch\.worker is empty"),
        ({"working_directory": "/no/such/folder"}, r"'/no/such/folder' is no folder"),
    ],
    ids=["no_model", "no_worker", "not_executable", "empty", "no_folder"],
)
async def test_what_cannot_be_started_is_named_with_its_remedy(
    data_dir: Path, launch: dict[str, Any], words: str
) -> None:
    async with local(data_dir) as provider:
        with pytest.raises(ProviderError, match=words):
            await provider.create(spec(**launch))
        failed = await look(provider)
        assert failed.state is InstanceState.FAILED
        await provider.destroy(1)
        assert await provider.list() == []


async def test_one_that_failed_can_be_created_anew_with_another_launch(data_dir: Path) -> None:
    async with local(data_dir) as provider:
        with pytest.raises(ProviderError):
            await provider.create(spec(model=("no-such-server",)))
        await provider.create(spec())
        assert await provider.list() == [Instance(1, InstanceState.RUNNING)]


# --- an engine before this one --------------------------------------------------------------------


async def test_a_second_provider_finds_what_the_first_one_started(data_dir: Path) -> None:
    async with local(data_dir) as provider:
        for number in (1, 2, 3, 4):
            await provider.create(spec(number))
        await provider.stop(2)
        os.kill(pids(data_dir, 3)["worker"], signal.SIGKILL)
        os.kill(pids(data_dir, 4)["supervisor"], signal.SIGKILL)
        await until_gone(*pids(data_dir, 3).values(), *pids(data_dir, 4).values())
        second = LocalProvider(data_dir)
        assert {instance.id: instance.state for instance in await second.list()} == {
            1: InstanceState.RUNNING,
            2: InstanceState.STOPPED,
            3: InstanceState.FAILED,
            4: InstanceState.FAILED,
        }
        await second.stop(1)
        await second.start(2)
        await second.destroy(3)
        assert [(instance.id, instance.state) for instance in await second.list()] == [
            (1, InstanceState.STOPPED),
            (2, InstanceState.RUNNING),
            (4, InstanceState.FAILED),
        ]


STARTS_AND_IS_KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from pyworker.engine.providers.local import LocalProvider
from tests.support.instances import spec

async def main():
    await LocalProvider(Path(sys.argv[1])).create(spec())
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_workers_go_on_when_their_engine_is_killed_and_the_next_one_has_them(data_dir: Path) -> None:
    async with local(data_dir) as provider:
        engine = await asyncio.create_subprocess_exec(
            sys.executable, "-c", STARTS_AND_IS_KILLED, str(data_dir), cwd=ROOT
        )
        assert await engine.wait() == -signal.SIGKILL
        running = pids(data_dir)
        assert all(map(runs, running.values()))
        assert await provider.list() == [Instance(1, InstanceState.RUNNING)]
        await provider.stop(1)
        assert not any(map(runs, running.values()))
        assert await provider.list() == [Instance(1, InstanceState.STOPPED)]


async def test_a_folder_full_of_rubbish_hides_nothing_and_is_left_alone(data_dir: Path) -> None:
    for name in ("lost+found", "5", "6", "7"):
        (data_dir / name).mkdir(parents=True)
    (data_dir / "notes.txt").write_text("hello")
    (data_dir / "12").write_text("no folder")
    (data_dir / "6" / "instance.json").write_text('{"id": 6')
    (data_dir / "7" / "instance.json").write_text('{"id": 7, "colour": "red"}')
    (data_dir / "7" / "supervisor.lock").write_text("1")
    async with local(data_dir) as provider:
        await provider.create(spec())
        found = {instance.id: instance for instance in await provider.list()}
        assert found[1] == Instance(1, InstanceState.RUNNING)
        assert found.keys() == {1, 5, 6, 7}
        for number in (5, 6, 7):
            assert found[number].state is InstanceState.FAILED
            assert "instance.json is missing or damaged: destroy the instance" in found[number].reason
            await provider.stop(number)
            await provider.destroy(number)
        assert sorted(path.name for path in data_dir.iterdir()) == ["1", "12", "lost+found", "notes.txt"]


async def test_a_data_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProviderError, match=r"file/instances/1 cannot be written .*: put the data folder where"):
        await LocalProvider(tmp_path / "file" / "instances").create(spec())


# --- GPUs -----------------------------------------------------------------------------------------


async def test_each_instance_gets_gpus_of_its_own(data_dir: Path) -> None:
    wants_one: dict[str, Any] = {"resources": Resources(gpus=1), "worker": python(SAYS_ENVIRONMENT)}
    async with local(data_dir, gpus=("0", "1")) as provider:
        await asyncio.gather(provider.create(spec(1, **wants_one)), provider.create(spec(2, **wants_one)))
        logs = [await until_log(data_dir / f"{number}/logs/worker.log", "started") for number in (1, 2)]
        assert {environment_in(log)["CUDA_VISIBLE_DEVICES"] for log in logs} == {"0", "1"}
        second = LocalProvider(data_dir, gpus=lambda: ("0", "1"))  # knows what the first one gave away
        with pytest.raises(ProviderError, match="it wants 1 GPU, and of the 2 of this machine 0 can give that much"):
            await second.create(spec(3, **wants_one))
        assert len(await provider.list()) == 2
        await provider.stop(1)
        await second.create(spec(3, **wants_one))
        with pytest.raises(ProviderError, match="stop another worker"):
            await provider.start(1)
        assert (await look(provider, 1)).state is InstanceState.STOPPED


# --- the real thing -------------------------------------------------------------------------------

WORKER = """
import os
from pyworker import Backend, LogAction, PassThroughHandler, start_server

handler = PassThroughHandler("/generate", benchmark_payload=lambda: {"n": os.urandom(4).hex()})
backend = Backend(
    os.environ["MODEL_SERVER_URL"], os.environ["MODEL_LOG"], allow_parallel_requests=True, benchmark_handler=handler,
    log_actions=[(LogAction.ModelLoaded, "model is listening")],
)

if __name__ == "__main__":
    start_server(backend, backend.routes(handler))
"""
MODEL = """
import sys
from aiohttp import web

async def answer(request):
    return web.json_response({"text": "hello"})

async def say(_):
    print("model is listening", flush=True)

app = web.Application()
app.router.add_route("*", "/{any:.*}", answer)
app.on_startup.append(say)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""


async def until_ready(http: aiohttp.ClientSession, url: str) -> None:
    while True:
        try:
            async with http.get(f"{url}/pyworker/health") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(LOOK_AGAIN_S)


async def test_a_real_worker_answers_and_skips_its_benchmark_when_it_is_started_again(
    data_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "model.py").write_text(MODEL)
    launch = Launch(
        worker=("{python}", "-m", "pyworker.cli", "run", str(tmp_path / "worker.py")),
        model=("{python}", str(tmp_path / "model.py"), "{model_port}"),
        environment={"UNSECURED": "true"},
    )
    async with local(data_dir) as provider, aiohttp.ClientSession() as http:
        await provider.create(InstanceSpec(1, "llm/default", launch, {}))
        url = f"http://127.0.0.1:{ports(data_dir)['worker_port']}"
        await until_ready(http, url)
        body = {"auth_data": {"cost": 1, "endpoint": "e", "reqnum": 1, "url": url, "signature": ""}, "payload": {}}
        async with http.post(f"{url}/generate", json=body) as answer:
            assert (answer.status, await answer.json()) == (200, {"text": "hello"})
        await provider.stop(1)
        await provider.start(1)
        await until_ready(http, url)
        assert "benchmark skipped: its score is known" in (data_dir / "1/logs/worker.log").read_text()


# --- nobody's -------------------------------------------------------------------------------------


async def test_machines_of_ones_own_are_not_started_from_here() -> None:
    provider = ExternalProvider()
    with pytest.raises(ProviderError, match="pyworker worker token"):
        await provider.create(spec())
    with pytest.raises(ProviderError, match="pyworker worker token"):
        await provider.start(1)
    await provider.stop(1)
    await provider.destroy(1)
    assert list(await provider.list()) == []
    await provider.close()


# --- a full disk ----------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [False, True], ids=["killed", "stopped"])
async def test_on_a_full_disk_an_instance_that_ends_hides_no_other_and_says_so_in_words(
    tmp_path: Path, *, asked: bool
) -> None:
    with a_small_disk(tmp_path) as disk:
        data_dir = disk / "instances"
        async with local(data_dir) as provider:
            await provider.create(spec(1))
            await provider.create(spec(2))
            ballast = await asyncio.to_thread(fill, disk)
            supervisor = pids(data_dir)["supervisor"]
            if asked:
                await provider.stop(1)
            else:
                os.kill(supervisor, signal.SIGKILL)
            await until_gone(supervisor)
            one, two = await provider.list()
            assert (one.state, two.state) == (InstanceState.FAILED, InstanceState.RUNNING)
            assert f"the disk that holds {data_dir / '1'} is full" in one.reason
            assert "Errno" not in one.reason
            with pytest.raises(ProviderError, match="is full: free some space"):
                await provider.create(spec(3))
            await asyncio.to_thread(ballast.unlink)
            assert "is full" not in (await look(provider)).reason
            await provider.start(1)
            assert await look(provider) == Instance(1, InstanceState.RUNNING)


async def test_an_instance_that_cannot_be_looked_at_hides_no_other(data_dir: Path) -> None:
    async with local(data_dir) as provider:
        await provider.create(spec(2))
        (data_dir / "1" / "supervisor.lock").mkdir(parents=True)
        (data_dir / "1" / "ended.json").mkdir()
        one, two = await provider.list()
        assert (one.state, two.state) == (InstanceState.FAILED, InstanceState.RUNNING)
        assert str(data_dir / "1") in one.reason
