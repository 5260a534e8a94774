"""The same commands as real processes against a real engine: it takes what they send, and they read what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.commands import Ended, pyworker
from tests.support.engines import API_KEY, EngineUnderTest, an_engine

DEPLOYMENT = """
[endpoint]
name = "hello"
min_load = 0
[[workergroup]]
name = "mine"
provider = "external"
"""


async def ask(engine: EngineUnderTest, *args: str, key: str = API_KEY, status: int = 0) -> Ended:
    ended = await pyworker(*args, env={"PYWORKER_ENGINE": engine.url, "PYWORKER_API_KEY": key})
    assert ended.status == status, ended
    return ended


async def asked_json(engine: EngineUnderTest, *args: str) -> Any:
    return json.loads((await ask(engine, *args, "--json")).out)


async def test_a_deployment_is_made_looked_at_changed_and_deleted(tmp_path: Path) -> None:
    (tmp_path / "deployment.toml").write_text(DEPLOYMENT)
    async with an_engine() as engine:
        made = await asked_json(engine, "endpoint", "create", "-f", str(tmp_path), "--set", "max_workers=3")
        assert [group["id"] for group in await asked_json(engine, "group", "list", "-e", "hello")] == made[
            "workergroup_ids"
        ]
        await ask(engine, "endpoint", "update", "hello", "--set", "max_workers=5")
        shown = await asked_json(engine, "endpoint", "show", "hello")
        assert (shown["min_load"], shown["max_workers"]) == (0.0, 5)
        group = await asked_json(engine, "group", "show", "hello/mine")
        assert (group["provider"], group["command"]) == ("external", None)
        await ask(engine, "group", "update", "hello/mine", "--set", "max_workers=2")
        assert (await asked_json(engine, "group", "show", "hello/mine"))["max_workers"] == 2
        assert "the endpoint is made" in (await ask(engine, "endpoint", "logs", "hello")).out
        await ask(engine, "group", "delete", "hello/mine", "--yes")
        await ask(engine, "endpoint", "delete", "hello", "--yes")
        assert [each["endpoint_name"] for each in await asked_json(engine, "endpoint", "list")] == ["default"]


async def test_a_worker_that_joined_is_listed_and_forgotten() -> None:
    async with an_engine() as engine:
        variables = await asked_json(engine, "worker", "token", "-e", "default")
        report = {"id": 1, "mtoken": variables["MASTER_TOKEN"], "url": "http://127.0.0.1:1", "error_msg": "no model"}
        assert (await engine.post("/worker_status/", report))[0] == 200
        (worker,) = await asked_json(engine, "worker", "list")
        assert (worker["status"], worker["error_msg"], worker["endpoint_name"]) == ("ERROR", "no model", "default")
        assert "own machine" in (await ask(engine, "worker", "stop", str(worker["id"]), status=1)).err
        await ask(engine, "worker", "delete", str(worker["id"]), "--yes")
        assert await asked_json(engine, "worker", "list") == []


async def test_keys_are_made_used_and_taken_back_and_others_rotated() -> None:
    async with an_engine() as engine:
        made = await asked_json(engine, "key", "create", "laptop")
        await ask(engine, "endpoint", "list", key=made["api_key"])
        assert "laptop" in (await ask(engine, "key", "list")).out
        await ask(engine, "key", "revoke", str(made["id"]), "--yes")
        await ask(engine, "endpoint", "list", key=made["api_key"], status=1)
        before = (await asked_json(engine, "endpoint", "show", "default"))["api_key"]
        assert (await ask(engine, "endpoint", "new-key", "default", "--yes")).out.strip() != before
        for kind in ("rsa", "ticket"):
            await ask(engine, "key", "rotate", kind)


async def test_what_the_engine_keeps_is_copied_once(tmp_path: Path) -> None:
    async with an_engine() as engine:
        await ask(engine, "backup", str(tmp_path / "copy"))
        assert (tmp_path / "copy" / "engine.db").is_file()
        assert "there already" in (await ask(engine, "backup", str(tmp_path / "copy"), status=1)).err
    async with an_engine(tmp_path / "copy") as again:
        assert [each["endpoint_name"] for each in await asked_json(again, "endpoint", "list")] == ["default"]


async def test_what_the_engine_refuses_is_told_in_its_words() -> None:
    async with an_engine() as engine:
        assert "default" in (await ask(engine, "endpoint", "create", "default", status=1)).err
        await ask(engine, "group", "create", "mine", "-e", "default")
        await ask(engine, "worker", "token", "-e", "default", "--group", "mine")
        assert "no update" in (await ask(engine, "group", "update", "mine", "--cancel", status=1)).err
