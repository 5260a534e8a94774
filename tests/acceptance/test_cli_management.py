"""The commands that manage an engine, as real processes, against a fake engine on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pyworker.cli import app
from pyworker.testing import FakeServer, answer
from tests.support.commands import PYWORKER, ROOT, Ended, pyworker, running
from tests.support.managed_engine import API_KEY, ManagedEngine

COMMANDS = {
    "endpoint": ("list", "create", "show", "update", "delete", "logs", "new-key"),
    "group": ("list", "create", "show", "update", "delete", "logs"),
    "worker": ("list", "show", "logs", "stop", "start", "delete", "token"),
    "key": ("list", "create", "update", "revoke", "rotate"),
}

DEPLOYMENT = """
[endpoint]
name = "hello"
max_workers = 4
[[workergroup]]
name = "one"
worker = ["serve-one"]
[workergroup.environment]
TOKEN = "${HELLO_TOKEN}"
[[workergroup]]
name = "two"
provider = "external"
"""


@pytest.fixture
async def engine() -> AsyncIterator[ManagedEngine]:
    async with ManagedEngine() as managed:
        yield managed


@pytest.fixture
def deployment(tmp_path: Path) -> str:
    """A folder with two workergroups in a file."""
    (tmp_path / "deployment.toml").write_text(DEPLOYMENT)
    return str(tmp_path)


async def ask(engine: ManagedEngine, *args: str) -> Ended:
    """A command that goes well."""
    ended = await pyworker(*args, env={**engine.env(), "HELLO_TOKEN": "s3cret"})
    assert (ended.status, ended.err) == (0, ""), ended
    return ended


async def refused(engine: ManagedEngine, *args: str, status: int = 1) -> str:
    """What a command that does not go well says."""
    ended = await pyworker(*args, env={**engine.env(), "HELLO_TOKEN": "s3cret"})
    assert (ended.status, ended.out) == (status, ""), ended
    assert "Traceback" not in ended.err
    return _plain(ended.err)


def _plain(text: str) -> str:
    """Without the box that is drawn around it."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


async def asked_json(engine: ManagedEngine, *args: str) -> Any:
    return json.loads((await ask(engine, *args, "--json")).out)


@pytest.mark.parametrize(
    "command", [(group, name) for group, names in COMMANDS.items() for name in names] + [("backup",)], ids=" ".join
)
def test_every_commands_help_has_examples(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"])
    assert shown.exit_code == 0
    assert f"pyworker {' '.join(command)} " in shown.output.partition("Examples")[2] + " "


# --- endpoint ---


async def test_an_endpoint_is_made_with_any_parameter(engine: ManagedEngine) -> None:
    parameters = {
        "min_load": 0.0,
        "target_util": 0.5,
        "cold_mult": 2.0,
        "min_cold_load": 3.0,
        "cold_workers": 1,
        "max_workers": 4,
        "max_queue_time": 20.0,
        "target_queue_time": 5.0,
        "inactivity_timeout": -1.0,
    }
    sets = [part for name, value in parameters.items() for part in ("--set", f"{name}={value:g}")]
    made = await asked_json(engine, "endpoint", "create", "hello", *sets)
    ((endpoint_id, endpoint),) = engine.endpoints.items()
    assert made == {"id": endpoint_id, "endpoint_name": "hello", "workergroup_ids": []}
    assert {name: endpoint[name] for name in parameters} == parameters


async def test_an_endpoint_is_made_from_a_file_with_its_groups(engine: ManagedEngine, deployment: str) -> None:
    ended = await ask(engine, "endpoint", "create", "-f", deployment, "--set", "max_workers=2")
    assert "pyworker endpoint logs hello --follow" in ended.out
    assert "s3cret" not in ended.out
    (endpoint,) = engine.endpoints.values()
    assert (endpoint["endpoint_name"], endpoint["max_workers"]) == ("hello", 2)
    one, two = engine.groups.values()
    assert (one["template_hash"], one["provider"], one["launch"]["worker"]) == ("one", "local", ["serve-one"])
    assert one["launch"]["environment"] == {"TOKEN": "s3cret"}
    assert (two["name"], two["provider"], two["launch"]) == ("two", "external", None)


async def test_an_endpoint_whose_groups_cannot_be_made_is_not_left_behind(
    engine: ManagedEngine, deployment: str
) -> None:
    engine.refuses_groups = ("two",)
    assert "there is no GPU here" in await refused(engine, "endpoint", "create", "-f", deployment)
    assert (engine.endpoints, engine.groups) == ({}, {})


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "give the endpoint's name"),
        (["a", "--set", "max_wrokers=4"], "did you mean max_workers?"),
        (["a", "--set", "min_workers=4"], "did you mean cold_workers?"),
        (["a", "--set", "max_workers"], "'max_workers' is no name=value, as max_workers=4"),
        (["a", "--set", "max_workers=many"], "max_workers: expected integer, got string"),
        (["a", "--set", "target_util=2"], "target_util: must be above 0 and at most 1"),
    ],
)
async def test_what_is_wrong_with_a_parameter_is_told_before_the_engine_is_asked(args: list[str], said: str) -> None:
    ended = await pyworker("endpoint", "create", *args, env={"PYWORKER_API_KEY": API_KEY, "PYWORKER_ENGINE": "x"})
    assert ended.status == 2
    assert said in _plain(ended.err)


async def test_what_is_wrong_with_the_file_is_told_with_its_line(engine: ManagedEngine, tmp_path: Path) -> None:
    (tmp_path / "d.toml").write_text('[endpoint]\nname = "a"\nmax_wrokers = 1\n')
    said = await refused(engine, "endpoint", "create", "-f", str(tmp_path / "d.toml"))
    assert "d.toml:3: endpoint.max_wrokers: there is no such field; did you mean max_workers?" in said


async def test_endpoints_are_listed_aligned_and_as_json(engine: ManagedEngine) -> None:
    engine.add_endpoint("a", max_workers=4)
    engine.add_endpoint("a-longer-name", max_workers=16)
    header, first, second = (await ask(engine, "endpoint", "list")).out.splitlines()
    assert header.split("  ")[0] == "ID"
    assert first.index("active") == second.index("active") == header.index("STATE")
    found = await asked_json(engine, "endpoint", "list")
    assert [(each["endpoint_name"], each["max_workers"]) for each in found] == [("a", 4), ("a-longer-name", 16)]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("endpoint", "list"), "pyworker endpoint create"),
        (("group", "list"), "pyworker group create"),
        (("worker", "list"), "pyworker endpoint logs"),
    ],
)
async def test_an_empty_list_says_what_to_do(engine: ManagedEngine, command: tuple[str, ...], said: str) -> None:
    assert said in (await ask(engine, *command)).out
    assert await asked_json(engine, *command) == []


async def test_an_endpoint_is_shown_by_name_or_id_with_its_workers_counted(engine: ManagedEngine) -> None:
    endpoint_id = engine.add_endpoint("hello")
    for worker_id, status in enumerate(["IDLE", "IDLE", "STOPPED"]):
        engine.add_worker(endpoint_id, worker_id, status)
    for name in ("hello", str(endpoint_id)):
        shown = (await ask(engine, "endpoint", "show", name)).out
        assert re.search(r"^workers +2 IDLE, 1 STOPPED$", shown, re.MULTILINE)
        assert re.search(r"^created_at +2026-\d\d-\d\d ", shown, re.MULTILINE)


async def test_an_endpoint_that_is_not_there_is_told_with_those_that_are(engine: ManagedEngine) -> None:
    assert "pyworker endpoint create" in await refused(engine, "endpoint", "show", "hallo")
    engine.add_endpoint("hello")
    assert "there is no endpoint 'hallo': there is hello" in await refused(engine, "endpoint", "show", "hallo")


async def test_only_what_is_named_is_changed(engine: ManagedEngine) -> None:
    endpoint_id = engine.add_endpoint("hello", min_load=7.0)
    ended = await ask(engine, "endpoint", "update", "hello", "--set", "max_workers=8")
    assert "max_workers" in ended.out
    assert (engine.endpoints[endpoint_id]["max_workers"], engine.endpoints[endpoint_id]["min_load"]) == (8, 7.0)
    await ask(engine, "endpoint", "update", "hello", "--set", "endpoint_state=stopped")
    assert engine.endpoints[endpoint_id]["endpoint_state"] == "stopped"
    assert "say what is to change" in await refused(engine, "endpoint", "update", "hello", status=2)


async def test_nothing_is_deleted_without_a_word(engine: ManagedEngine) -> None:
    engine.add_endpoint("hello")
    assert "--yes" in await refused(engine, "endpoint", "delete", "hello")
    assert len(engine.endpoints) == 1
    await ask(engine, "endpoint", "delete", "hello", "--yes")
    assert engine.endpoints == {}


async def test_an_endpoint_gets_another_key(engine: ManagedEngine) -> None:
    engine.add_endpoint("hello")
    assert "--yes" in await refused(engine, "endpoint", "new-key", "hello")
    assert (await ask(engine, "endpoint", "new-key", "hello", "--yes")).out == "its-new-key\n"


# --- logs ---


async def test_the_last_lines_of_a_log_are_shown_by_level(engine: ManagedEngine) -> None:
    engine.add_endpoint("hello")
    engine.logs = ["one", "two \x1b[2Jthree"]
    assert (await ask(engine, "endpoint", "logs", "hello")).out == "one\ntwo \N{REPLACEMENT CHARACTER}[2Jthree\n"
    assert (await ask(engine, "endpoint", "logs", "hello", "--tail", "1", "--level", "debug")).out.endswith("details\n")
    assert (await asked_json(engine, "endpoint", "logs", "hello"))["info0"] == "one\ntwo \x1b[2Jthree"


async def test_a_log_is_followed_line_by_line_even_while_the_engine_is_away(engine: ManagedEngine) -> None:
    engine.add_endpoint("hello")
    engine.logs = ["one"]
    async with running(*PYWORKER, "endpoint", "logs", "hello", "--follow", env=engine.env()) as command:
        assert await command.line() == "one"
        engine.logs.append("two")
        assert await command.line() == "two"
        await engine.stop_listening()
        engine.logs += ["three", "four"]
        await engine.listen()
        assert [await command.line(), await command.line()] == ["three", "four"]
        command.signal(signal.SIGINT)
        ended = await command.ended()
    assert ended.status == 130
    assert "Traceback" not in ended.err


# --- group ---


async def test_groups_of_a_file_join_an_endpoint_all_or_one_of_them(engine: ManagedEngine, deployment: str) -> None:
    engine.add_endpoint("hello")
    made = await asked_json(engine, "group", "create", "two", "-e", "hello", "-f", deployment, "--set", "max_workers=3")
    assert [group["name"] for group in made] == ["two"]
    assert engine.groups[made[0]["id"]]["max_workers"] == 3
    await ask(engine, "group", "create", "-e", "hello", "-f", deployment)
    assert [group["name"] for group in engine.groups.values()] == ["two", "one", "two"]
    engine.refuses_groups = ("two",)
    await refused(engine, "group", "create", "-e", "hello", "-f", deployment)
    assert len(engine.groups) == 3
    said = await refused(engine, "group", "create", "three", "-e", "hello", "-f", deployment)
    assert "there is one, two" in said


async def test_a_group_without_a_file_is_external(engine: ManagedEngine) -> None:
    engine.add_endpoint("hello")
    await ask(engine, "group", "create", "rented", "-e", "hello")
    (group,) = engine.groups.values()
    assert (group["name"], group["provider"], group["endpoint_name"]) == ("rented", "external", "hello")
    said = await refused(engine, "group", "create", "-e", "hello", "--set", "provider=local")
    assert "describe them in a file, with -f" in said


async def test_groups_are_found_by_name_by_endpoint_and_name_or_by_id(engine: ManagedEngine) -> None:
    first = engine.add_group(engine.add_endpoint("a"), "default")
    second = engine.add_group(engine.add_endpoint("b"), "default", provider="ray")
    assert (await asked_json(engine, "group", "show", "b/default"))["id"] == second
    assert (await asked_json(engine, "group", "show", str(first)))["id"] == first
    assert [group["id"] for group in await asked_json(engine, "group", "list", "-e", "b")] == [second]
    assert "say a/default or b/default" in await refused(engine, "group", "show", "default")
    assert "there is a/default, b/default" in await refused(engine, "group", "show", "c")


async def test_what_a_group_has_in_its_environment_is_not_shown(engine: ManagedEngine) -> None:
    launch = {"environment": {"TOKEN": "s3cret"}}  # from an engine that says too much
    engine.add_group(engine.add_endpoint("a"), "default", launch=launch, command=["serve", "--name", "a b"])
    shown = (await ask(engine, "group", "show", "default")).out
    assert re.search(r"^command +serve --name 'a b'$", shown, re.MULTILINE)
    assert re.search(r"^model_command +-$", shown, re.MULTILINE)
    as_json = await asked_json(engine, "group", "show", "default")
    assert "s3cret" not in shown + json.dumps(as_json) + json.dumps(await asked_json(engine, "group", "list"))


async def test_a_rolling_update_is_begun_and_called_off(engine: ManagedEngine, deployment: str) -> None:
    group_id = engine.add_group(engine.add_endpoint("hello"), "one")
    assert "pyworker group logs hello/one --follow" in (await ask(engine, "group", "update", "one")).out
    await ask(engine, "group", "update", "one", "--cancel")
    assert engine.done == [f"update {group_id}", f"cancel {group_id}"]
    await ask(engine, "group", "update", "one", "-f", deployment)
    assert len(engine.done) == 2  # with another launch it is begun by itself
    await ask(engine, "group", "update", "one", "--set", "signature_scheme=4")
    assert engine.done[2:] == [f"update {group_id}"]
    assert engine.groups[group_id]["launch"]["worker"] == ["serve-one"]
    assert engine.groups[group_id]["name"] == "one"


async def test_a_groups_limits_change_without_an_update(engine: ManagedEngine) -> None:
    group_id = engine.add_group(engine.add_endpoint("hello"), "one", provider="ray")
    await ask(engine, "group", "update", "one", "--set", "max_workers=9")
    assert engine.done == []
    assert (engine.groups[group_id]["max_workers"], engine.groups[group_id]["provider"]) == (9, "ray")
    assert "neither -f nor --set" in await refused(
        engine, "group", "update", "one", "--cancel", "--set", "max_workers=9", status=2
    )


async def test_only_what_a_file_changes_is_said_to_be_changed(engine: ManagedEngine, deployment: str) -> None:
    engine.add_group(engine.add_endpoint("hello"), "one", provider="local")
    said = (await ask(engine, "group", "update", "one", "-f", deployment, "--set", "test_workers=7")).out
    assert said.startswith("workergroup hello/one is changed: launch, test_workers\n")


async def test_an_endpoint_is_kept_that_was_to_delete_itself(engine: ManagedEngine) -> None:
    endpoint_id = engine.add_endpoint("hello", auto_delete_in_seconds=60.0, max_workers=4)
    changes = ("--set", "auto_delete_in_seconds=-1", "--set", "max_workers=4")
    said = (await ask(engine, "endpoint", "update", "hello", *changes)).out
    assert said == "endpoint hello is changed: auto_delete_in_seconds\n"
    assert engine.endpoints[endpoint_id]["auto_delete_in_seconds"] == -1
    assert "was so already" in (await ask(engine, "endpoint", "update", "hello", "--set", "max_workers=4")).out


async def test_a_group_is_deleted_and_its_log_shown(engine: ManagedEngine) -> None:
    engine.add_group(engine.add_endpoint("hello"), "one")
    engine.logs = ["why"]
    assert (await ask(engine, "group", "logs", "one")).out == "why\n"
    await ask(engine, "group", "delete", "one", "--yes")
    assert engine.groups == {}


# --- worker ---


async def test_workers_are_listed_with_state_load_capacity_and_why(engine: ManagedEngine) -> None:
    a, b = engine.add_endpoint("a"), engine.add_endpoint("b")
    big = engine.add_group(b, "big")
    engine.add_worker(b, 2, "ERROR", error_msg="exit status 1:\nout of memory", workergroup_id=big)
    engine.add_worker(a, 1, "IDLE", cur_load=12.5, measured_perf=104.25, reqs_working=3, url="http://w:1")
    header, first, second = (await ask(engine, "worker", "list")).out.splitlines()
    assert header.split() == ["ID", "STATE", "LOAD", "CAPACITY", "REQUESTS", "ENDPOINT", "GROUP", "URL", "WHY"]
    assert first.split() == ["1", "IDLE", "12.5", "104", "3", "a", "-", "http://w:1", "-"]
    assert second.split(maxsplit=8) == ["2", "ERROR", "0", "-", "0", "b", "big", "-", "exit status 1: out of memory"]
    found = await asked_json(engine, "worker", "list", "-e", "b")
    assert [(each["id"], each["workergroup_name"]) for each in found] == [(2, "big")]


async def test_a_worker_is_shown_or_told_not_to_be_there(engine: ManagedEngine) -> None:
    engine.add_worker(engine.add_endpoint("a"), 7, "IDLE")
    shown = (await ask(engine, "worker", "show", "7")).out
    assert re.search(r"^loaded_at +-$", shown, re.MULTILINE)
    assert (await asked_json(engine, "worker", "show", "7"))["status"] == "IDLE"
    assert "there is no worker 8: there is 7" in await refused(engine, "worker", "show", "8")


async def test_two_workers_with_one_id_are_told_apart_by_the_engines_numbers(engine: ManagedEngine) -> None:
    a = engine.add_endpoint("a")
    engine.add_worker(a, 7, "IDLE", number=7, url="http://here:1")
    engine.add_worker(a, 7, "LOADING", number=9, url="http://there:1")
    _, first, second = (await ask(engine, "worker", "list")).out.splitlines()
    assert (first.startswith("7 (n7) "), second.startswith("7 (n9) ")) == (True, True)
    assert "say n7 (http://here:1) or n9 (http://there:1)" in await refused(engine, "worker", "show", "7")
    assert (await asked_json(engine, "worker", "show", "n9"))["status"] == "LOADING"


async def test_a_workers_logs_are_shown_with_its_models(engine: ManagedEngine) -> None:
    shown = (await ask(engine, "worker", "logs", "7", "--tail", "9")).out
    assert shown == "--- model.log ---\nloaded\n--- worker.log ---\nworker 7\ntail 9\n"
    found = await asked_json(engine, "worker", "logs", "7")
    assert found == {"model.log": ["loaded"], "worker.log": ["worker 7", "tail 50"]}


async def test_a_worker_is_stopped_started_and_deleted(engine: ManagedEngine) -> None:
    await ask(engine, "worker", "stop", "7")
    await ask(engine, "worker", "start", "7")
    await ask(engine, "worker", "delete", "7", "--yes")
    assert engine.done == ["stop 7", "start 7", "delete 7"]


# --- key and backup ---


async def test_a_new_key_alone_is_on_stdout(engine: ManagedEngine) -> None:
    ended = await pyworker("key", "create", "laptop", env=engine.env())
    assert (ended.status, ended.out) == (0, "a-new-key\n")
    assert re.search(r"shown only now; take it back with: pyworker key revoke \d+", ended.err)
    assert [key["name"] for key in engine.keys.values()] == ["first", "laptop"]


async def test_keys_are_listed_and_revoked(engine: ManagedEngine) -> None:
    header, first = (await ask(engine, "key", "list")).out.splitlines()
    assert header.split("  ")[0] == "ID"
    assert first.split()[:2] == ["1", "first"]
    await ask(engine, "key", "revoke", "1", "--yes")
    assert engine.keys == {}
    assert "the id 1" in await refused(engine, "key", "revoke", "1", "--yes")


async def test_a_key_has_limits_from_the_start_and_gets_others(engine: ManagedEngine) -> None:
    options = ("--requests-per-minute", "60", "--workload-per-minute", "1e5")
    assert (await pyworker("key", "create", "ci", *options, env=engine.env())).status == 0
    (key_id,) = (number for number, key in engine.keys.items() if key["name"] == "ci")
    await ask(engine, "key", "update", str(key_id), "--workload-per-minute", "0", "--concurrent", "4")
    listed = json.loads((await ask(engine, "key", "list", "--json")).out)
    (key,) = (key for key in listed if key["name"] == "ci")
    assert (key["requests_per_minute"], key["workload_per_minute"], key["concurrent"]) == (60.0, 0.0, 4)
    header, *_, last = (await ask(engine, "key", "list")).out.splitlines()
    assert header.split("  ")[-1] == "AT ONCE"
    assert last.split()[-3:] == ["60", "-", "4"]


async def test_a_change_of_a_key_says_what_is_to_change(engine: ManagedEngine) -> None:
    assert "say which limit" in await refused(engine, "key", "update", "1", status=2)
    assert "the id 99" in await refused(engine, "key", "update", "99", "--concurrent", "1")


@pytest.mark.parametrize("kind", ["rsa", "ticket"])
async def test_what_the_engine_signs_with_is_rotated(engine: ManagedEngine, kind: str) -> None:
    await ask(engine, "key", "rotate", kind)
    assert engine.done == [f"rotate {kind}"]


async def test_a_kind_of_key_that_is_none_is_told(engine: ManagedEngine) -> None:
    assert "'rsa', 'ticket'" in await refused(engine, "key", "rotate", "dsa", status=2)


async def test_the_store_is_copied_where_it_is_said(engine: ManagedEngine) -> None:
    assert "keep it secret" in (await ask(engine, "backup", "/var/backups/a")).out
    assert engine.done == ["backup /var/backups/a"]


# --- what goes wrong for all of them ---


@pytest.mark.parametrize("address", ["foo", "foo:8080", "htp://127.0.0.1:8080", "http://[::1", "http://a:b"])
async def test_what_is_no_address_of_an_engine_is_said_to_be_none(address: str) -> None:
    ended = await pyworker("endpoint", "list", "-k", "key", "--engine", address, env={})
    assert ended.status == 1
    assert f"error: {address!r} is no address of an engine: give one as http://HOST:PORT" in ended.err


async def test_a_wrong_key_is_told_in_the_engines_words(engine: ManagedEngine) -> None:
    ended = await pyworker("endpoint", "list", "-k", "wrong", env=engine.env())
    assert ended.status == 1
    assert "The API key is missing or wrong" in ended.err


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"results": 7}', b'{"results": [7]}', b'{"results": [{}]}'])
async def test_what_is_no_engines_answer_is_told(body: bytes) -> None:
    async with FakeServer(default=answer(body)) as server:
        ended = await pyworker("endpoint", "list", "-k", "key", "--engine", server.url)
    assert ended.status == 1
    assert "not an engine's" in ended.err


@pytest.mark.parametrize("status", [404, 405])
async def test_an_engine_without_the_call_is_told_to_be_older(status: int) -> None:
    words = {"success": False, "error": "not_found", "msg": f"{status}: Not Found"}
    async with FakeServer(default=answer(words, status=status)) as server:
        ended = await pyworker("key", "list", "-k", "key", "--engine", server.url)
    assert ended.status == 1
    assert "has no call /api/v0/keys/: is it older than this command?" in ended.err


# --- on a terminal ---


async def _on_a_terminal(engine: ManagedEngine, *args: str, typed: str = "") -> str:
    """What a command shows on a terminal 100 columns wide."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, typed.encode())
        process = await asyncio.create_subprocess_exec(
            *PYWORKER,
            *args,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=ROOT,
            env={**os.environ, **engine.env(), "COLUMNS": "100", "TERM": "xterm"},
        )
        assert await process.wait() == 0
    finally:
        os.close(theirs)
    shown = await asyncio.to_thread(_read_all, ours)
    os.close(ours)
    return shown.decode()


def _read_all(terminal: int) -> bytes:
    """What was written to it before its other end was closed, which is an error on some systems."""
    shown = b""
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 65536):
            shown += piece
    return shown


async def test_on_a_terminal_a_list_is_a_table_that_fits(engine: ManagedEngine) -> None:
    reason = "the model server ended with status 1, and this is a rather long story of how it came to that"
    engine.add_worker(engine.add_endpoint("hello"), 7, "ERROR", error_msg=reason)
    shown = re.sub(r"\x1b\[[\d;]*m", "", await _on_a_terminal(engine, "worker", "list"))
    assert "─" in shown
    assert max(map(len, shown.splitlines())) <= 100


async def test_on_a_terminal_a_deletion_is_asked_about(engine: ManagedEngine) -> None:
    engine.add_worker(engine.add_endpoint("hello"), 7, "IDLE")
    shown = await _on_a_terminal(engine, "endpoint", "delete", "hello", typed="y\n")
    assert "Delete endpoint hello (1 IDLE)?" in shown
    assert engine.endpoints == {}
