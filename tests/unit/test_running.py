"""What `pyworker run` starts, which changes it sees, and what it says on a terminal."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

from pyworker import Backend, PassThroughHandler
from pyworker.running.plan import Plan
from pyworker.running.watching import Watch
from pyworker.running.welcome import welcome
from tests.support.workers.handlers import Generate


def test_a_plan_comes_through_a_command_line_as_it_is() -> None:
    plan = Plan(["python", "worker.py"], ["serve", "--port", "{model_port}", "it's"], "/tmp/x.log", watched="/w")  # noqa: S108
    assert Plan.from_json(plan.to_json()) == plan


def test_a_model_server_gets_a_port_and_its_log_where_it_asks_for_them_and_the_worker_hears_of_it() -> None:
    plan = Plan(["worker"], ["serve", "--port={model_port}", "--log", "{model_log}", "{other}"], "/logs/model.log")
    assert plan.wants_port
    assert plan.logs_by_itself
    assert plan.model_command(20001) == ["serve", "--port=20001", "--log", "/logs/model.log", "{other}"]
    env = plan.worker_environment({"PATH": "/bin"}, 20001)
    assert (env["MODEL_LOG"], env["MODEL_SERVER_URL"]) == ("/logs/model.log", "http://127.0.0.1:20001")
    assert plan.worker_environment({"MODEL_SERVER_URL": "http://model"}, 20001)["MODEL_SERVER_URL"] == "http://model"
    alone = Plan(["worker"], ["serve", "--port", "8000"], "/logs/model.log")
    assert not alone.wants_port
    assert not alone.logs_by_itself
    assert "MODEL_SERVER_URL" not in alone.worker_environment({}, 0)


def changed(watch: Watch) -> list[str]:
    """By the second look, which finds them at rest."""
    return [Path(path).name for path in watch.changed() or watch.changed()]


def test_files_that_are_written_made_and_removed_are_seen_once_they_are_at_rest(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("worker.py", "sub/data.py"):
        (tmp_path / name).write_text("")
    watch = Watch(str(tmp_path))
    assert changed(watch) == []
    (tmp_path / "worker.py").write_text("x = 1")
    assert watch.changed() == []
    (tmp_path / "worker.py").write_text("x = 1\n")
    assert watch.changed() == []
    assert [Path(path).name for path in watch.changed()] == ["worker.py"]
    (tmp_path / "new.py").write_text("")
    (tmp_path / "sub" / "data.py").unlink()
    assert changed(watch) == ["new.py", "data.py"]
    assert changed(watch) == []


def test_what_is_no_source_of_the_worker_is_not_watched(tmp_path: Path) -> None:
    (tmp_path / "venv" / "lib").mkdir(parents=True)
    (tmp_path / "venv" / "pyvenv.cfg").write_text("")
    for folder in (".git", "__pycache__", "node_modules"):
        (tmp_path / folder).mkdir()
    watch = Watch(str(tmp_path))
    for name in ("venv/lib/x.py", ".git/x.py", "__pycache__/x.py", "node_modules/x.py", "output.png", "notes.json"):
        (tmp_path / name).write_text("")
    assert changed(watch) == []


def test_files_that_were_imported_from_elsewhere_are_watched_too(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    shared = tmp_path / "shared.py"
    shared.write_text("")
    watch = Watch(str(tmp_path / "one"))
    watch.watch_too([str(shared)], shared.stat().st_mtime_ns)
    assert changed(watch) == []
    os.utime(shared, ns=(1, 1))
    assert changed(watch) == ["shared.py"]


def test_a_file_that_changed_before_it_was_known_to_be_the_workers_counts_as_changed(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    shared = tmp_path / "shared.py"
    shared.write_text("")
    watch = Watch(str(tmp_path / "one"))
    watch.watch_too([str(shared)], shared.stat().st_mtime_ns - 1)
    assert changed(watch) == ["shared.py"]


def test_on_a_laptop_it_is_told_how_to_call_the_worker() -> None:
    backend = Backend("http://127.0.0.1:9")
    routes = backend.routes(Generate(route="/authored"))
    *_, first, _, call = welcome(backend, routes, 3000, {"UNSECURED": "true"})
    assert first == "It listens on port 3000 (WORKER_PORT) and reports to nobody (REPORT_ADDR is not set)."
    program, url, _, header, _, envelope = shlex.split(call)
    assert (program, url, header) == ("curl", "http://127.0.0.1:3000/authored", "Content-Type: application/json")
    payload = json.loads(envelope)["payload"]
    Generate().payload_cls().from_json_msg(payload)


def test_of_a_payload_that_is_not_known_nothing_is_made_up() -> None:
    backend = Backend("http://127.0.0.1:9", unsecured=True)
    call = welcome(backend, backend.routes(PassThroughHandler("/generate")), 3000, {})[-1]
    assert json.loads(shlex.split(call)[-1])["payload"] == {}


def test_a_worker_that_can_check_nobody_is_told_how_to_be_tried() -> None:
    backend = Backend("http://127.0.0.1:9")
    said = "\n".join(welcome(backend, backend.routes(PassThroughHandler("/x")), 3000, {}))
    assert "UNSECURED=true WORKER_HOST=127.0.0.1" in said
    assert "curl" not in said


def test_where_there_is_an_engine_nothing_is_said() -> None:
    backend = Backend("http://127.0.0.1:9")
    assert welcome(backend, [], 3000, {"REPORT_ADDR": "http://127.0.0.1:8080"}) == []
