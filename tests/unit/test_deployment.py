"""One file describes a deployment: what it gives, and that all that is wrong is told with its line and field."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pyworker.engine.core.parameters import PLACEHOLDERS, EndpointParameters, GroupParameters, Launch, Resources
from pyworker.engine.deployment import Deployment, load
from pyworker.errors import DeploymentError
from tests.support.source import ROOT

SMALL = """
[endpoint]
name = "hello"

[[workergroup]]
worker = "mine"
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Puts a text into a folder that has a worker called ``mine``."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "server.py").touch()
    (tmp_path / "empty").mkdir()

    def write(text: str) -> Path:
        (tmp_path / "deployment.toml").write_text(text)
        return tmp_path / "deployment.toml"

    return write


def problems(path: Path, env: dict[str, str] | None = None) -> list[str]:
    """What is wrong, each with the file's name cut off: "line: field: words"."""
    with pytest.raises(DeploymentError) as wrong:
        load(path, env or {})
    assert all(problem in str(wrong.value) for problem in wrong.value.problems)
    assert all(problem.startswith(f"{path}:") for problem in wrong.value.problems)
    return [problem.removeprefix(f"{path}:") for problem in wrong.value.problems]


# --- what it gives ---


def test_what_is_not_said_has_its_default(write: Write) -> None:
    path = write(SMALL)
    worker = ("{python}", "-m", "pyworker.cli", "run", str(path.parent.resolve() / "mine"))
    launch = Launch(worker=worker, working_directory=str(path.parent.resolve()))
    group = GroupParameters(name="default", provider="local", launch=launch)
    assert load(path, {}) == Deployment(name="hello", parameters=EndpointParameters(), groups=(group,))


def test_everything_that_can_be_said_arrives(write: Write) -> None:
    path = write("""
        [endpoint]
        name = "hello"
        min_load = 0
        target_util = 0.5
        cold_mult = 2.5
        min_cold_load = 1
        cold_workers = 2
        max_workers = 7
        max_queue_time = 20
        target_queue_time = 4
        inactivity_timeout = -1

        [[workergroup]]
        name = "big"
        provider = "ray"
        worker = ["{python}", "-m", "mine"]
        working_directory = "mine"
        max_workers = 4
        test_workers = 1
        signature_scheme = 4
        model = { command = ["serve", "--port", "{model_port}"], health = "/health" }
        environment = { TOKEN = "${SECRET}" }
        resources = { cpus = 2, gpus = 0.5, memory_gb = 16, custom = { tpu = 1 } }

        [[workergroup]]
        name = "rented"
        provider = "external"
    """)
    deployment = load(path, {"SECRET": "s3cret"})
    assert deployment.parameters == EndpointParameters(
        min_load=0.0,
        target_util=0.5,
        cold_mult=2.5,
        min_cold_load=1.0,
        cold_workers=2,
        max_workers=7,
        max_queue_time=20.0,
        target_queue_time=4.0,
        inactivity_timeout=-1.0,
    )
    launch = Launch(
        worker=("{python}", "-m", "mine"),
        model=("serve", "--port", "{model_port}"),
        environment={"TOKEN": "s3cret", "MODEL_HEALTH_ENDPOINT": "/health"},
        working_directory=str(path.parent.resolve() / "mine"),
        resources=Resources(cpus=2.0, gpus=0.5, memory_gb=16.0, custom={"tpu": 1.0}),
    )
    big = GroupParameters(name="big", provider="ray", launch=launch, max_workers=4, test_workers=1, signature_scheme=4)
    assert deployment.groups == (big, GroupParameters(name="rented", provider="external"))


def test_a_folder_stands_for_the_file_in_it(write: Write) -> None:
    path = write(SMALL)
    assert load(path.parent, {}) == load(path, {})


def test_the_examples_deployment_is_good() -> None:
    deployment = load(ROOT / "workers" / "hello_world", {})
    assert (deployment.name, deployment.parameters.min_load) == ("hello", 0.0)


# --- secrets ---


def test_a_value_comes_from_the_environment_and_is_shown_nowhere(write: Write) -> None:
    path = write(
        SMALL
        + """
        [workergroup.model]
        command = ["serve", "{model_port}", "${HOME}/models"]
        [workergroup.environment]
        HF_TOKEN = "${HF_TOKEN}"
        PRICE = "$${HF_TOKEN} $5"
    """
    )
    deployment = load(path, {"HF_TOKEN": "hf-secret", "HOME": "/home/me"})
    launch = deployment.groups[0].launch
    assert launch is not None
    assert launch.environment == {"HF_TOKEN": "hf-secret", "PRICE": "${HF_TOKEN} $5"}
    assert launch.model == ("serve", "{model_port}", "/home/me/models")
    assert "hf-secret" not in repr(deployment)
    assert "HF_TOKEN" in repr(deployment)


def test_a_secret_is_in_no_problem(write: Write) -> None:
    path = write(SMALL + '[workergroup.environment]\nA = "${SECRET}{nothing}"\nB = "${SECRET}${MISSING}"\n')
    found = problems(path, {"SECRET": "s3cret"})
    assert len(found) == 2
    assert "s3cret" not in "".join(found)


# --- what is wrong ---

GROUP = '[endpoint]\nname = "a"\n[[workergroup]]\nworker = "mine"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[endpoint", r"^1: this is no TOML: .*\]"),
        ('\n[endpoint]\nname = "a', r"^3: this is no TOML"),
        (GROUP + "test_workers = ", r"^5: this is no TOML: Invalid value$"),
        ("", r"1: endpoint: there is none: write \[endpoint\]"),
        ('[endpoint]\nname = "a"', r"1: workergroup: there is none: .*\[\[workergroup\]\]"),
        ('[endpoint]\nname = "a"\n[workergroup]', r"^3: workergroup: .*\[\[workergroup\]\], in two brackets"),
        ('endpoint = 1\n[[workergroup]]\nworker = "mine"', r"^1: endpoint: must be a table: \[endpoint\]"),
        ('[endpoint]\n[[workergroup]]\nworker = "mine"', r"^1: endpoint\.name: is missing"),
        ('[endpoint]\nname = " "\n[[workergroup]]\nworker = "mine"', r"^2: endpoint\.name: must be a text"),
        ('[endpoint]\nname = 1\n[[workergroup]]\nworker = "mine"', r"^2: endpoint\.name: must be a text"),
        ('[endpoint]\nname = "a\\n"\n[[workergroup]]\nworker = "mine"', r"^2: endpoint\.name: .*printed"),
        ("[endpoints]\n" + GROUP, r"^1: endpoints: there is no such field; did you mean endpoint\?"),
        (GROUP.replace("workergroup", "workergroups"), r"^3: workergroups: .*did you mean workergroup\?"),
        (GROUP + "[model]", r"^5: model: there is no such field"),
        ("endpoint.max_wrokers = 3\n" + GROUP.partition("\n")[2], r"1: endpoint\.max_wrokers: .*max_workers\?"),
        (GROUP.replace('"a"', '"a"\nmin_workers = 3'), r"^3: endpoint\.min_workers: .*cold_workers\?"),
        (GROUP.replace('"a"', '"a"\nmin_load = -1'), r"^3: endpoint\.min_load: must be a number, 0 or more"),
        (GROUP.replace('"a"', '"a"\nmin_load = inf'), r"^3: endpoint\.min_load: must be a number, 0 or more"),
        (GROUP.replace('"a"', '"a"\ninactivity_timeout = nan'), r"^3: endpoint\.inactivity_timeout: must be a number"),
        (GROUP.replace('"a"', '"a"\nmax_workers = "4"'), r"^3: endpoint\.max_workers: expected integer, got string"),
        (GROUP + 'provider = "lokal"', r"^5: workergroup\[1\]\.provider: must be external or local or ray"),
        (GROUP + "signature_scheme = 2", r"^5: workergroup\[1\]\.signature_scheme: must be 1 or 3 or 4"),
        (GROUP + "test_workers = 0", r"^5: workergroup\[1\]\.test_workers: must be from 1 to 10000"),
        (GROUP + "max_workers = -1", r"^5: workergroup\[1\]\.max_workers: must be from 0"),
        (GROUP + "launch = {}", r"^5: workergroup\[1\]\.launch: there is no such field"),
        (GROUP.replace("mine", "other"), r"^4: workergroup\[1\]\.worker: there is no /.*/other: give a worker's"),
        (
            GROUP.replace("mine", "empty"),
            r"^4: workergroup\[1\]\.worker: the folder /.*/empty holds neither",
        ),
        (GROUP.replace('"mine"', "[]"), r"^4: workergroup\[1\]\.worker: must be a list of texts"),
        (GROUP.replace('"mine"', "7"), r"^4: workergroup\[1\]\.worker: must be a text"),
        (GROUP.replace('worker = "mine"', ""), r"^3: workergroup\[1\]\.worker: is missing: a worker's folder"),
        (GROUP + 'working_directory = "nope"', r"^5: workergroup\[1\]\.working_directory: there is no folder /.*/nope"),
        (GROUP + GROUP.partition("\n[[")[2].join(["[[", ""]), r"3: .*several workergroups are called 'default'"),
        (GROUP + 'provider = "external"', r"^4: workergroup\[1\]\.worker: .*join with a token .*remove it"),
        (GROUP + "[workergroup.model]", r"^5: workergroup\[1\]\.model\.command: is missing"),
        (GROUP + 'model.command = "serve"', r"^5: workergroup\[1\]\.model\.command: must be a list of texts, as"),
        (GROUP + 'model.command = ["serve"]', r"^5: workergroup\[1\]\.model\.command: never says {model_port}"),
        (GROUP + 'model.comand = ["a{model_port}"]', r"5: workergroup\[1\]\.model\.comand: .*did you mean command\?"),
        (GROUP + 'model = {command = ["{model_port}"], health = "x"}', r"^5: workergroup\[1\]\.model\.health: must be"),
        (GROUP + '[workergroup.model]\ncommand = [\n"{modelport}",\n]', r"^6: .*{modelport} stands.*{model_port}\?"),
        (
            GROUP + 'environment.A = "{Nothing_Like_It}"',
            r"^5: .*{folder}, .*, and \${Nothing_Like_It} for a",
        ),
        (GROUP + 'environment.A = "${model_port}"', r"^5: .*write {model_port} without the \$"),
        (
            GROUP + 'environment.A = "${HF_TOKEN}"',
            r"^5: .*HF_TOKEN is not set: export it first, or",
        ),
        (GROUP + 'environment.A = "${A-b}"', r"^5: .*must hold the name of one variable"),
        (GROUP + "environment.A = 1", r"^5: workergroup\[1\]\.environment\.A: must be a text in quotes"),
        (GROUP + 'environment."a b" = ""', r"^5: .*is no name for a variable"),
        (GROUP + 'environment.MASTER_TOKEN = "a"', r"^5: .*comes from the engine"),
        (GROUP + 'environment.VAST_TCP_PORT_3000 = "a"', r"^5: .*comes from the engine"),
        (GROUP + 'environment.PYWORKER_STATE_DIR = "a"', r"^5: .*comes from the engine"),
        (GROUP + 'environment.PYWORKER_MAX_BODY = "9"', r"^5: .*did you mean PYWORKER_MAX_BODY_MB\?"),
        (GROUP + "resources.gpus = -1", r"^5: workergroup\[1\]\.resources\.gpus: must be a number, 0 or more"),
        (GROUP + "resources.memory = 1", r"^5: workergroup\[1\]\.resources\.memory: .*memory_gb\?"),
        (GROUP + 'resources.custom = "a"', r"^5: workergroup\[1\]\.resources\.custom: expected object"),
        (GROUP + "resources = 3", r"^5: workergroup\[1\]\.resources: must be a table"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_field_and_what_to_do(write: Write, text: str, said: str) -> None:
    found = problems(write(text))
    assert any(re.search(said, problem) for problem in found), found


def test_the_health_url_is_said_once(write: Write) -> None:
    model = 'model = {command = ["{model_port}"], health = "/h"}\nenvironment.MODEL_HEALTH_ENDPOINT = "/h"'
    assert re.search(r"^5: .*said twice", problems(write(GROUP + model))[0])


def test_all_problems_are_told_at_once_in_the_order_of_the_lines(write: Write) -> None:
    text = (
        '[endpoint]\nname = "a"\nmin_load = -1\ncold_mult = 0\nmax_workers = "a"\n'
        '[[workergroup]]\nworker = "nope"\nresources.cpus = -1\n[[workergroup]]\nprovider = "lokal"\nworker = "mine"\n'
    )
    found = problems(write(text))
    assert [problem.partition(":")[0] for problem in found] == ["3", "4", "5", "6", "7", "8", "9", "10"]


@pytest.mark.parametrize("placeholder", sorted(PLACEHOLDERS))
def test_each_placeholder_is_left_for_the_provider(write: Write, placeholder: str) -> None:
    (group,) = load(write(GROUP + f'environment.A = "{{{placeholder}}}"'), {}).groups
    assert group.launch is not None
    assert group.launch.environment == {"A": f"{{{placeholder}}}"}


def test_json_in_a_value_is_no_placeholder(write: Write) -> None:
    (group,) = load(write(GROUP + """environment.A = '{"a": {"b": 1}}'"""), {}).groups
    assert group.launch is not None
    assert group.launch.environment == {"A": '{"a": {"b": 1}}'}


def test_a_model_that_runs_elsewhere_needs_no_port_of_ours(write: Write) -> None:
    text = GROUP + 'environment.MODEL_SERVER_URL = "http://10.0.0.1:8000"\nmodel.command = ["tail", "-F", "remote.log"]'
    assert load(write(text), {})


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match=r"there is no .*deployment\.toml: give a deployment\.toml, or a folder"):
        load(tmp_path)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "deployment.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(DeploymentError, match="cannot be read"):
        load(tmp_path)
