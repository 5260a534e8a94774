"""`pyworker check` finds each planted mistake, says where it is and what to do, and finds nothing where nothing is."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec
import pytest

from pyworker.checking.run import check
from pyworker.wire_check import CheckReport, Finding
from tests.support.commands import PYWORKER, Ended, running
from tests.support.planted.dry_runs import DryRuns
from tests.support.planted.mistakes import (
    COUNTS,
    DECLARED,
    DECLARED_MISTAKES,
    GENERATES,
    MISTAKES,
    READS,
    START,
    WORKER,
    Mistake,
    taking,
)

LIMIT_S = 50.0


def planted(folder: Path, text: str, name: str = "server.py") -> str:
    (folder / name).write_text(text)
    return str(folder)


def dry_run(target: str, **env: str) -> CheckReport:
    return check(target, env={**os.environ, **env}, limit_s=LIMIT_S)


def shown(report: CheckReport) -> str:
    return "\n".join(f"{one.level} {one.rule} {one.where}: {one.what} -> {one.remedy}" for one in report.findings)


def is_at(finding: Finding, text: str, worker: str) -> bool:
    """Whether it names a line with this text, or is this place."""
    match = re.search(r"(?:server|worker)\.py:(\d+)", finding.where)
    return text in (worker.splitlines()[int(match[1]) - 1] if match else finding.where)


def require_found(report: CheckReport, mistake: Mistake, text: str) -> None:
    found = [one for one in report.findings if (one.rule, one.level) == (mistake.rule, mistake.level)]
    assert found, f"{mistake.name}: {shown(report)}"
    assert any(is_at(one, mistake.at, text) for one in found), shown(report)
    words = " ".join(f"{one.what} {one.remedy}" for one in found)
    assert [said for said in mistake.says if said not in words] == [], shown(report)
    others = {one.rule for one in report.findings if one.level == "fault"} - {mistake.rule} - mistake.besides
    assert not others, shown(report)


@pytest.mark.parametrize("worker", [WORKER, DECLARED], ids=["by subclass", "declared"])
def test_a_worker_with_nothing_wrong_is_clean(worker: str, tmp_path: Path) -> None:
    report = dry_run(planted(tmp_path, worker))
    assert (shown(report), report.faults, report.warnings) == ("", 0, 0)
    assert len(report.checked) == 5
    assert "the model server itself" in report.not_checked[-1]


@pytest.mark.limit_s(120)
@pytest.mark.parametrize(
    ("worker", "name", "mistakes"),
    [(WORKER, "server.py", MISTAKES), (DECLARED, "worker.py", DECLARED_MISTAKES)],
    ids=["by subclass", "declared"],
)
def test_each_mistake_in_a_worker_is_found(worker: str, name: str, mistakes: list[Mistake], tmp_path: Path) -> None:
    with DryRuns.opened() as dry_runs:
        for number, mistake in enumerate(mistakes):
            text, folder = mistake.planted(worker), tmp_path / str(number)
            folder.mkdir()
            require_found(dry_runs.check(planted(folder, text, name)), mistake, text)


# --- whatever a worker's file does --------------------------------------------------------------------


def test_a_file_that_never_comes_to_its_end_is_cut_off_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    text = WORKER.replace(START, 'import subprocess\nsubprocess.run(["sleep", "1000"])')
    report = check(planted(tmp_path, text), env=os.environ, limit_s=3.0)
    assert [finding.rule for finding in report.findings] == ["cut-off"]
    assert "it took more than 3 s at this step: it is imported" in report.findings[0].what
    assert report.not_checked == ["all that comes after that"]


def test_a_parser_that_never_ends_is_named_before_it_is_cut_off(tmp_path: Path) -> None:
    blocks = taking("import time\n        time.sleep(1000)\n        return super().from_json_msg(json_msg)")
    text = WORKER.replace("    def count_workload", blocks)
    report = check(planted(tmp_path, text), env=os.environ, limit_s=4.0)
    assert [finding.rule for finding in report.findings] == ["blocking", "cut-off"]


def test_a_process_that_dies_is_said_with_the_step_it_died_at(tmp_path: Path) -> None:
    text = WORKER.replace(COUNTS, "import os\n        os.abort()")
    report = dry_run(planted(tmp_path, text))
    assert [finding.rule for finding in report.findings] == ["cut-off"]
    assert "the process ended by itself at this step: its payloads" in report.findings[0].what


def test_threads_and_output_of_a_worker_are_no_obstacle(tmp_path: Path) -> None:
    noise = "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\nprint('x' * 10**6)\n"
    report = dry_run(planted(tmp_path, WORKER.replace(START, noise + START)))
    assert shown(report) == ""


def test_all_variables_that_are_not_set_are_said_at_once_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    reads = 'import os\nHOST, NUMBER = os.environ["MODEL_HOST_X"], int(os.environ["HOW_MANY"])\nWORDS = ['
    text = WORKER.replace("WORDS = [", reads).replace(COUNTS, "return -1.0")
    report = dry_run(planted(tmp_path, text))
    assert [finding.rule for finding in report.findings] == ["variable", "variable", "workload"]
    given = dry_run(planted(tmp_path, text), MODEL_HOST_X="localhost", HOW_MANY="3")
    assert [finding.rule for finding in given.findings] == ["workload"]


def test_a_variable_that_is_not_set_and_was_thought_of_is_no_fault(tmp_path: Path) -> None:
    reads = 'import os\ntry:\n    HOST = os.environ["MODEL_HOST_X"]\nexcept KeyError:\n    HOST = ""\nWORDS = ['
    assert shown(dry_run(planted(tmp_path, WORKER.replace("WORDS = [", reads)))) == ""


def test_what_a_variable_for_a_secret_holds_is_in_no_finding(tmp_path: Path) -> None:
    text = WORKER.replace(START, 'import os\nraise RuntimeError("refused: " + os.environ["API_TOKEN"])')
    report = dry_run(planted(tmp_path, text), API_TOKEN="hunter2-hunter2")  # noqa: S106 - of nothing
    assert "hunter2" not in shown(report)
    assert "the value of API_TOKEN" in shown(report)


def test_what_the_environment_lacks_is_said_as_at_the_start(tmp_path: Path) -> None:
    report = dry_run(planted(tmp_path, WORKER), REPORT_ADDR="http://127.0.0.1:1", PYWORKER_DRIAN_S="3")
    assert [(one.rule, one.level) for one in report.findings].count(("environment", "fault")) == 4
    assert "did you mean PYWORKER_DRAIN_S?" in shown(report)


def test_an_answer_that_the_handler_looks_into_is_asked_for_and_taken(tmp_path: Path) -> None:
    text = WORKER.replace(READS, "        body = (await model_response.json())['my_own_field'].encode()\n")
    report = dry_run(planted(tmp_path, text))
    assert not [finding for finding in report.findings if finding.level == "fault"], shown(report)
    assert any("--answer FILE" in left and "my_own_field" in left for left in report.not_checked)
    given = check(str(tmp_path), env=os.environ, limit_s=LIMIT_S, answer={"my_own_field": "hello"})
    assert not [left for left in given.not_checked if "--answer" in left]
    wrong = check(str(tmp_path), env=os.environ, limit_s=LIMIT_S, answer={"another": "hello"})
    assert [finding.rule for finding in wrong.findings if finding.level == "fault"] == ["raises"]


def test_a_remote_function_is_called_only_when_that_is_wanted(tmp_path: Path) -> None:
    text = DECLARED.replace("request_parser=parse,\n                workload_calculator=count", "remote_function=add")
    text = text.replace(GENERATES, 'return {"a": random.randrange(10**9)}').replace("return a + b", "raise OSError(a)")
    target = planted(tmp_path, text, "worker.py")
    report = dry_run(target)
    assert report.faults == 0, shown(report)
    assert any("--call-remote" in left for left in report.not_checked)
    called = check(target, env=os.environ, limit_s=LIMIT_S, call_remote=True)
    assert [finding.rule for finding in called.findings if finding.level == "fault"] == ["raises"], shown(called)


def test_what_a_parser_refuses_may_be_what_only_the_model_is_sent(tmp_path: Path) -> None:
    text = DECLARED.replace('payload.get("prompt")', 'payload.get("my_prompt")')
    report = dry_run(planted(tmp_path, text, "worker.py"))
    assert shown(report) == ""
    assert "/generate: no payload is known that a client may send there" in report.not_checked


def test_a_lifecycle_is_not_entered(tmp_path: Path) -> None:
    lifecycle = (
        "import contextlib\n\n\n@contextlib.asynccontextmanager\nasync def lifecycle():\n    raise SystemExit(9)\n"
        "    yield\n\n\nbackend = Backend(\n    lifecycle=lifecycle,\n"
    )
    report = dry_run(planted(tmp_path, WORKER.replace("backend = Backend(\n", lifecycle)))
    assert shown(report) == ""
    assert "the lifecycle: it was not entered" in report.not_checked


# --- the command --------------------------------------------------------------------------------------


async def command(*arguments: str, **env: str) -> Ended:
    async with running(*PYWORKER, "check", *arguments, env=env) as process:
        return await process.ended()


async def test_hello_world_is_clean() -> None:
    ended = await command("workers/hello_world", "--strict")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.splitlines()[-1] == "workers/hello_world: nothing wrong"
    assert "\x1b" not in ended.out


async def test_warnings_are_faults_when_they_shall_be(tmp_path: Path) -> None:
    target = planted(tmp_path, WORKER.replace(COUNTS, "return 100.0"))
    assert (await command(target)).status == 0
    assert (await command(target, "--strict")).status == 1


async def test_a_fault_is_a_line_with_its_remedy_and_status_1(tmp_path: Path) -> None:
    ended = await command(planted(tmp_path, WORKER.replace(COUNTS, "return -1.0")))
    assert ended.status == 1
    line, remedy = ended.out.splitlines()[:2]
    assert line.startswith(f"fault: {tmp_path}/server.py:")
    assert remedy.startswith("    do: return a finite number above 0")
    assert ended.out.splitlines()[-1].endswith(": 1 fault")


async def test_as_json_it_is_one_report(tmp_path: Path) -> None:
    ended = await command(planted(tmp_path, WORKER.replace(COUNTS, "return -1.0")), "--json")
    report = msgspec.json.decode(ended.out, type=CheckReport)
    assert (ended.status, report.faults, report.findings[0].rule) == (1, 1, "workload")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("workers/helo_world",), "hello_world"),
        (("workers/hello_world", "--env", "NAME"), "NAME=VALUE"),
        (("workers/hello_world", "--answer", "nowhere.json"), "nowhere.json"),
    ],
)
async def test_what_is_not_understood_is_status_2(arguments: tuple[str, ...], says: str) -> None:
    ended = await command(*arguments)
    assert ended.status == 2
    assert says in ended.err
