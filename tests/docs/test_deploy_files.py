"""deploy/ as far as it can be checked without running it: syntax, and that whatever it refers to is there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main

from pyworker.cli import app
from pyworker.engine.deployment import load
from pyworker.settings import VARIABLES, WorkerSettings
from tests.docs.pages import ROOT
from tests.support import dockerfile
from tests.support.dockerfile import Stage

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
WORST_EXPOSURE = 3.0  # of 10, as systemd-analyze counts it


def _compose() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="pyyaml is not installed")
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def _unit(path: Path) -> dict[str, list[str]]:
    """Values by name; each section has names of its own."""
    values: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE):
        values.setdefault(name, []).append(value)
    return values


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+)(s|m)?", text)
    assert match, text
    return float(match[1]) * (60 if match[2] == "m" else 1)


def _require_command(words: list[str]) -> None:
    """A ``pyworker`` command with options that there are."""
    command = typer.main.get_command(app)
    while (inner := getattr(command, "commands", None)) is not None:
        if words[0] == "up" and "up" not in inner:
            pytest.skip("there is no `pyworker up` yet")
        command = inner[words.pop(0)]
    known = {option for param in command.params for option in param.opts}
    assert {word for word in words if word.startswith("-")} <= known


# --- systemd --------------------------------------------------------------------------------------


def _systemd_analyze(*args: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed (Debian: systemd)")
    return subprocess.run([program, *args], capture_output=True, text=True, check=False)  # noqa: S603 - found above


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path, tmp_path: Path) -> None:
    installed = tmp_path / unit.name  # its program is not where it will be
    installed.write_text(unit.read_text().replace("/opt/pyworker/bin/pyworker", "/bin/true"))
    done = _systemd_analyze("verify", "--man=no", str(installed))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_may_do_little_more_than_it_must(unit: Path) -> None:
    done = _systemd_analyze("security", "--offline=true", "--no-pager", str(unit))
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    if exposure is None:
        pytest.skip("this systemd-analyze cannot look at a file by itself")
    assert float(exposure[1]) <= WORST_EXPOSURE
    assert _unit(unit)["User"] == ["pyworker"]
    assert _unit(unit)["NoNewPrivileges"] == ["yes"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_runs_a_command_that_there_is(unit: Path) -> None:
    (command,) = _unit(unit)["ExecStart"]
    program, *words = shlex.split(command)
    assert program == "/opt/pyworker/bin/pyworker"
    _require_command(words)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_that_is_stopped_has_time_to_drain(unit: Path) -> None:
    values = _unit(unit)
    assert values["KillSignal"] == ["SIGTERM"]
    assert _seconds(values["TimeoutStopSec"][0]) > WorkerSettings.drain_s + 5
    assert values["EnvironmentFile"]  # where its secrets are


# --- the image ------------------------------------------------------------------------------------


def _stages() -> list[Stage]:
    return dockerfile.read(DEPLOY / "Dockerfile")


def _lineage(name: str) -> list[Stage]:
    """A stage and those it stands on, the first one first."""
    by_name = {stage.name: stage for stage in _stages()}
    found: list[Stage] = []
    while name in by_name:
        found.insert(0, by_name[name])
        name = by_name[name].base
    return found


def test_every_stage_stands_on_an_earlier_one_or_on_an_image_with_a_version() -> None:
    earlier: set[str] = set()
    for stage in _stages():
        assert stage.base in earlier or re.fullmatch(r"[a-z]+:\d+\.\d+[a-z0-9.-]*", stage.base), stage.base
        for rest in stage.all("COPY"):
            assert dockerfile.copied(rest)[0] in {None, *earlier}
        earlier.add(stage.name)


def test_what_is_copied_is_there_and_is_sent_to_the_build() -> None:
    sent = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert sent[0] == "*"
    for stage in _stages():
        for rest in stage.all("COPY"):
            from_stage, sources = dockerfile.copied(rest)
            for source in sources if from_stage is None else ():
                assert (ROOT / source).exists(), source
                assert f"!{source}" in sent or f"!{source.partition('/')[0]}/*.txt" in sent, source


@pytest.mark.parametrize("target", ["pyworker", "hello-world"])
def test_the_image_runs_as_a_user_without_rights(target: str) -> None:
    users = [rest for stage in _lineage(target) for rest in stage.all("USER")]
    assert users[-1] == "10001:10001"


@pytest.mark.parametrize("target", ["pyworker", "hello-world"])
def test_the_image_is_given_a_command_as_a_list(target: str) -> None:
    for name in ("ENTRYPOINT", "CMD", "VOLUME"):
        assert all(rest.startswith("[") for stage in _lineage(target) for rest in stage.all(name))
    assert [stage.all("ENTRYPOINT") for stage in _lineage(target) if stage.all("ENTRYPOINT")] == [['["pyworker"]']]


def test_nothing_is_installed_that_is_not_pinned_by_hash() -> None:
    runs = [command for stage in _stages() for rest in stage.all("RUN") for command in dockerfile.commands(rest)]
    installs = [command for command in runs if "install" in command and command[0].endswith("pip")]
    assert len(installs) >= 4
    for command in installs:
        is_ours = "--no-deps" in command and "--no-index" in command
        assert is_ours or "--require-hashes" in command, command
        assert not {"--index-url", "--extra-index-url", "--find-links"} & set(command)


def test_a_line_that_is_no_instruction_is_found(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:3.13 AS a\nRUN true \\\n    && false\nCOPPY a b\n")
    with pytest.raises(ValueError, match="COPPY"):
        dockerfile.read(tmp_path / "Dockerfile")


# --- compose --------------------------------------------------------------------------------------


def test_compose_builds_a_stage_that_there_is() -> None:
    builds = [service["build"] for service in _compose()["services"].values() if "build" in service]
    assert builds
    for build in builds:
        assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
        assert build["target"] in {stage.name for stage in _stages()}


def test_compose_runs_commands_that_there_are() -> None:
    services = _compose()["services"]
    assert services["model"]["entrypoint"] == ["python", "-m", "workers.hello_world.model_server"]
    target = services["worker"]["command"][1]
    assert (ROOT / target / "server.py").is_file()
    _require_command(list(services["worker"]["command"]))
    _require_command(list(services["engine"]["command"]))


@pytest.mark.parametrize("name", ["engine", "model", "worker"])
def test_a_service_may_do_nothing_it_need_not(name: str) -> None:
    service = _compose()["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "user" not in service  # the image's


def test_volumes_and_files_that_services_use_are_there() -> None:
    compose = _compose()
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (DEPLOY / source).is_file() if source.startswith(".") else source in compose["volumes"]


def test_the_variables_of_the_worker_are_known() -> None:
    service = _compose()["services"]["worker"]
    known = {variable.name for variable in VARIABLES} | {f"VAST_TCP_PORT_{service['environment']['WORKER_PORT']}"}
    assert service["environment"].keys() <= known
    assert _seconds(service["stop_grace_period"]) > float(service["environment"]["PYWORKER_DRAIN_S"]) + 5


def test_the_engine_of_compose_has_a_deployment() -> None:
    assert load(DEPLOY, {}).name == "hello"


# --- the page -------------------------------------------------------------------------------------


def test_the_page_says_that_it_was_not_run_and_names_only_what_is_there() -> None:
    page = (ROOT / "docs" / "how-to" / "deploy.md").read_text()
    assert "None of it was run" in page
    for path in re.findall(r"\bdeploy/[\w./-]+\w", page):
        assert (ROOT / path).exists() or path in {"deploy/.env", "deploy/worker.env"}, path
