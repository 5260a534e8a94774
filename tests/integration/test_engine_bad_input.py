"""What an engine is told over HTTP and cannot do is a 400 that names the field, and changes nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pyworker.engine.app import running_engine
from pyworker.engine.core.deployment.reading import Deployment
from pyworker.engine.core.parameters import EndpointParameters, GroupParameters, Launch
from pyworker.engine.data_directory import back_up
from pyworker.engine.engine import EngineConfig
from pyworker.engine.management import Management
from pyworker.errors import BadRequest
from pyworker.wire import TokenRequest
from tests.support.engines import API_KEY, EngineUnderTest, a_folder, an_engine
from tests.support.no_processes import Instances, a_world

KEY = {"Authorization": f"Bearer {API_KEY}"}
ENDPOINTS = "/api/v0/endptjobs/"
GROUPS = "/api/v0/workergroups/"
SHELL = {"endpoint_name": "default", "name": "shell", "provider": "local", "max_workers": 0}
LAUNCH = {"worker": ["sh", "-c", "true"]}
NO_NAMES = ["", " ", "x" * 101, "two\nlines", "red\x1b[31m", "zero\0", "\u202e", [], {}, 7, True]


async def _refused(engine: EngineUnderTest, path: str, body: dict[str, Any], *words: str, method: str = "POST") -> None:
    async with engine.http.request(method, engine.url + path, json=body, headers=KEY) as response:
        told = await response.json()
    assert (response.status, told["error"]) == (400, "bad_request"), told
    assert [word for word in words if word not in told["msg"]] == [], told


async def _made(engine: EngineUnderTest, path: str, body: dict[str, Any]) -> int:
    status, told = await engine.post(path, body, headers=KEY)
    assert status == 200, told
    return told.get("id") or told["result"]


async def _put(engine: EngineUnderTest, path: str, body: dict[str, Any]) -> int:
    async with engine.http.put(engine.url + path, json=body, headers=KEY) as response:
        return response.status


async def _listed(engine: EngineUnderTest, path: str) -> list[dict[str, Any]]:
    return (await engine.get(path, headers=KEY))[1]["results"]


# --- launches -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"provider": None, "launch": LAUNCH}, ["provider", "launch", "local or ray"]),
        ({"provider": "external", "launch": LAUNCH}, ["provider", "local or ray"]),
        ({"provider": "local"}, ["launch", "is missing"]),
        ({"provider": "ray"}, ["launch", "is missing"]),
        ({"launch": {"worker": []}}, ["launch.worker", "program"]),
        ({"launch": {"worker": [""]}}, ["launch.worker", "program"]),
        ({"launch": {**LAUNCH, "model": []}}, ["launch.model", "program"]),
        ({"launch": {"worker": ["sh", "{prot}"]}}, ["launch.worker", "{prot} stands for nothing"]),
        ({"launch": {"worker": ["sh", "a\0b"]}}, ["launch.worker", "the character 0"]),
        ({"launch": {**LAUNCH, "model": ["m", "{model_prot}"]}}, ["launch.model", "did you mean {model_port}?"]),
        ({"launch": {**LAUNCH, "environment": {"A": "{x}"}}}, ["launch.environment.A", "stands for nothing"]),
        ({"launch": {**LAUNCH, "environment": {"MASTER_TOKEN": "s3"}}}, ["MASTER_TOKEN", "comes from the engine"]),
        ({"launch": {**LAUNCH, "environment": {"WORKER_PORT": "1"}}}, ["WORKER_PORT", "comes from the engine"]),
        (
            {"launch": {**LAUNCH, "environment": {"PYWORKER_MAX_BODY_MIB": "1"}}},
            ["launch.environment.PYWORKER_MAX_BODY_MIB", "did you mean PYWORKER_MAX_BODY_MB?"],
        ),
        ({"launch": {**LAUNCH, "environment": {"A=B": "1"}}}, ["A=B", "no name for a variable"]),
        ({"launch": {**LAUNCH, "resources": {"cpus": -1}}}, ["launch.resources.cpus", "0 or more"]),
    ],
)
async def test_a_launch_that_cannot_be_started_makes_no_workergroup(fields: dict[str, Any], words: list[str]) -> None:
    async with an_engine() as engine:
        await _refused(engine, GROUPS, {**SHELL, **fields}, *words)
        assert await _listed(engine, GROUPS) == []


async def test_a_launch_with_placeholders_and_variables_that_exist_is_taken() -> None:
    async with an_engine() as engine:
        launch = {"worker": ["{python}", "${HOME}", '{"json": 1}'], "environment": {"A": "{folder}"}}
        await _made(engine, GROUPS, {**SHELL, "launch": launch})


async def test_a_workergroup_is_changed_to_nothing_that_could_not_be_made() -> None:
    async with an_engine() as engine:
        started = f"{GROUPS}{await _made(engine, GROUPS, {**SHELL, 'launch': LAUNCH})}/"
        external = f"{GROUPS}{await _made(engine, GROUPS, {'endpoint_name': 'default', 'name': 'own'})}/"
        await _refused(engine, started, {"launch": {"worker": []}}, "launch.worker", method="PUT")
        await _refused(engine, started, {"provider": "external"}, "provider", method="PUT")
        await _refused(engine, external, {"provider": "local"}, "launch", "is missing", method="PUT")
        await _refused(engine, external, {"launch": LAUNCH}, "provider", method="PUT")
        await _refused(engine, external, {"name": "shell"}, "has a workergroup 'shell' already", method="PUT")
        await _refused(engine, external, {"template_hash": "nope"}, "template_hash", "nope", method="PUT")
        await _refused(engine, external, {"template_hash": []}, "template_hash", method="PUT")
        assert await _put(engine, external, {"template_hash": "own"}) == 200
        assert await _put(engine, external, {"provider": "local", "launch": LAUNCH, "max_workers": 0}) == 200


async def test_the_provider_of_a_workergroup_with_workers_stays() -> None:
    async with an_engine() as engine:
        group_id = await _made(engine, GROUPS, {"endpoint_name": "default", "name": "own"})
        await engine.token(workergroup="own")
        change = {"provider": "local", "launch": LAUNCH, "max_workers": 0}
        await _refused(engine, f"{GROUPS}{group_id}/", change, "provider", "has workers", method="PUT")
        assert await _put(engine, f"{GROUPS}{group_id}/", {"provider": "external", "max_workers": 2}) == 200


async def test_no_token_is_issued_for_workers_that_the_engine_starts() -> None:
    async with an_engine() as engine:
        await _made(engine, GROUPS, {**SHELL, "launch": LAUNCH})
        token = {"endpoint": "default", "workergroup": "shell"}
        await _refused(engine, "/api/v0/worker_tokens/", token, "workergroup", "'shell'")


# --- names ----------------------------------------------------------------------------------------


async def test_a_name_is_1_to_100_characters_that_can_be_printed() -> None:
    async with an_engine() as engine:
        endpoint = (await _listed(engine, ENDPOINTS))[0]
        group = await _made(engine, GROUPS, {"endpoint_name": "default", "name": "own"})
        for name in NO_NAMES:
            await _refused(engine, ENDPOINTS, {"endpoint_name": name}, "endpoint_name")
            await _refused(engine, f"{ENDPOINTS}{endpoint['id']}/", {"endpoint_name": name}, "name", method="PUT")
            await _refused(engine, GROUPS, {"endpoint_name": "default", "name": name}, "name")
            await _refused(engine, f"{GROUPS}{group}/", {"name": name}, "name", method="PUT")
            await _refused(engine, "/api/v0/keys/", {"name": name}, "name")
        assert [one["endpoint_name"] for one in await _listed(engine, ENDPOINTS)] == ["default"]
        assert [one["name"] for one in await _listed(engine, GROUPS)] == ["own"]
        longest = "ü" * 100
        assert await _put(engine, f"{ENDPOINTS}{endpoint['id']}/", {"endpoint_name": longest}) == 200
        assert await _put(engine, f"{GROUPS}{group}/", {"name": "Größe 7 / b"}) == 200


# --- numbers, kinds, times ------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["abc", [], {}, 1.7, True])
async def test_an_endpoints_id_is_a_whole_number(value: Any) -> None:
    async with an_engine() as engine:
        await _refused(engine, GROUPS, {"endpoint_id": value, "name": "own"}, "endpoint_id")


@pytest.mark.parametrize("value", [["rsa"], {}, 1, "", "RSA", None])
async def test_what_is_rotated_is_rsa_or_ticket(value: Any) -> None:
    async with an_engine() as engine:
        await _refused(engine, "/api/v0/keys/rotate/", {"kind": value}, "kind")


@pytest.mark.parametrize("value", ["x", [], 0, 1e9, True])
async def test_the_time_until_an_endpoint_deletes_itself_is_a_number_of_seconds(value: Any) -> None:
    async with an_engine() as engine:
        endpoint = (await _listed(engine, ENDPOINTS))[0]
        body = {"auto_delete_in_seconds": value}
        await _refused(engine, f"{ENDPOINTS}{endpoint['id']}/", body, "auto_delete_in_seconds", method="PUT")
        await _refused(engine, ENDPOINTS, {"endpoint_name": "brief", **body}, "auto_delete_in_seconds")


# --- backups --------------------------------------------------------------------------------------


async def test_a_backup_goes_to_a_new_folder_outside_of_the_data_directory(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    file = tmp_path / "file"
    file.touch()
    link = tmp_path / "link"
    link.symlink_to(folder)
    there = {"there already": [tmp_path, file, link], "inside": [folder / "copy", link / "secrets" / "copy"]}
    cannot = [f"{tmp_path}/a\0b", tmp_path / ("x" * 300), file / "copy"]
    async with an_engine(folder) as engine:
        for word, paths in {**there, "cannot be": cannot, "from its root": ["copy", ""]}.items():
            for path in paths:
                body = {"path": str(path)}
                status, told = await engine.post("/api/v0/backup/", body, headers=KEY)
                assert (status, "path" in told["msg"], word in told["msg"]) == (400, True, True), told
        assert sorted(await asyncio.to_thread(os.listdir, tmp_path)) == ["data", "file", "link"]
        longest = tmp_path / ("x" * 255)
        assert (await engine.post("/api/v0/backup/", {"path": str(longest)}, headers=KEY))[0] == 200


def test_a_backup_copies_files_only(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    (folder / "secrets" / "lost+found").mkdir(mode=0o700)
    back_up(folder, tmp_path / "copy")
    names = {path.name for path in (folder / "secrets").iterdir()}
    assert {path.name for path in (tmp_path / "copy" / "secrets").iterdir()} == names - {"lost+found"}


# --- templates ------------------------------------------------------------------------------------


def _deployment(endpoint: str, *groups: str, program: str) -> Deployment:
    launch = Launch(worker=(program,))
    made = (GroupParameters(name=name, provider="local", launch=launch, max_workers=0) for name in groups)
    return Deployment(name=endpoint, parameters=EndpointParameters(min_load=0.0), groups=tuple(made))


@asynccontextmanager
async def _two_deployments(parent: Path) -> AsyncIterator[Management]:
    config = EngineConfig(API_KEY, port=0)
    async with running_engine(config, a_folder(parent)) as running:
        await running.management.deploy(_deployment("a", "one", program="run-a"))
        await running.management.deploy(_deployment("b", "one", "two", program="run-b"))
        yield running.management


async def test_an_update_takes_the_launch_of_its_own_endpoints_deployment(tmp_path: Path) -> None:
    async with _two_deployments(tmp_path) as management:
        own = {"endpoint_name": "a", "name": "two", "provider": "local", "launch": LAUNCH, "max_workers": 0}
        group = await management.create_group(own)
        assert await management.update_group(group) == 2
        assert group.parameters.launch == Launch(worker=("sh", "-c", "true"))


async def test_a_template_is_looked_for_at_the_own_endpoint_first(tmp_path: Path) -> None:
    async with _two_deployments(tmp_path) as management:
        launches = [
            (
                await management.create_group({"endpoint_name": endpoint, "template_hash": name, "name": "new"})
            ).parameters
            for endpoint, name in [("a", "two"), ("b", "one")]
        ]
        assert [one.launch and one.launch.worker for one in launches] == [("run-b",), ("run-b",)]
        with pytest.raises(BadRequest, match="there is one, two"):
            await management.create_group({"endpoint_name": "a", "template_hash": "three"})
        with pytest.raises(BadRequest, match="started by the engine"):
            await management.issue_token(TokenRequest(endpoint="a", workergroup="one"))


async def test_a_deployment_does_not_leave_workers_with_the_provider_before(tmp_path: Path) -> None:
    instances = Instances()
    instances.may_end.set()
    async with a_world(await asyncio.to_thread(a_folder, tmp_path), instances) as world:
        management, endpoint = world.running.management, world.worker.endpoint
        launch = Launch(worker=("true",))
        changed = Deployment(
            name="default",
            parameters=EndpointParameters(max_workers=9),
            groups=(GroupParameters(name="group", provider="ray", launch=launch),),
        )
        with pytest.raises(BadRequest, match="'group' has workers of the provider local; make another workergroup"):
            await management.deploy(changed)
        assert endpoint.parameters.max_workers == 1  # nothing of it
        assert world.worker.group.parameters.provider == "local"
