"""The import names that we stand in for: which there are, what they say of others, and the real package beside them."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyworker import compat
from tests.support.alone import python_alone
from tests.support.sdk import needs_sdk, sdk_site
from tests.support.source import modules

INSTALL = "from pyworker import compat; compat.install()\n"


@pytest.fixture
def installed() -> Iterator[None]:
    compat.install()
    yield
    compat.uninstall()


def alone(tmp_path: Path, code: str, *path: str) -> str:
    """What it prints, or the last line of its failure."""
    command = python_alone(tmp_path, code, *path)
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)  # noqa: S603 - our own
    return (done.stdout or done.stderr).strip().rpartition("\n")[2]


def test_importing_pyworker_offers_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import pyworker.compat, sys; assert 'pyworker' in sys.modules; import vastai_sdk"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ModuleNotFoundError: No module named 'vastai_sdk'" in done.stderr


def test_the_folders_of_this_repository_offer_the_same_names() -> None:
    folders = {module.name: importlib.import_module(module.name) for module in modules("lib", "utils")}
    offered = {name for name in compat.NAMES if name.partition(".")[0] in compat.GUIDES}
    assert folders.keys() == offered
    for name, module in folders.items():
        assert set(getattr(module, "__all__", ())) == set(compat.NAMES[name]), name
        for each, home in compat.NAMES[name].items():
            assert getattr(module, each) is getattr(importlib.import_module(home), each)


def test_all_of_them_are_there_where_only_the_wheel_is_installed(tmp_path: Path) -> None:
    names = {name: sorted(each for each in offered) for name, offered in compat.NAMES.items()}
    code = f"""{INSTALL}
import importlib, pyworker
for name, offered in {names!r}.items():
    module = importlib.import_module(name)
    for each in offered:
        if each in pyworker.__all__ or compat.NAMES[name][each] != "pyworker":
            assert getattr(module, each) is not None
print("good")
"""
    assert alone(tmp_path, code) == "good"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "from vastai import VastAI",
            "pyworker offers no 'vastai.VastAI': there is BenchmarkConfig, HandlerConfig, LogActionConfig, Serverless, "
            "Worker, WorkerConfig. All else is in the package vastai: pip install vastai",
        ),
        ("from vastai import Wroker", "'vastai.Wroker': did you mean 'Worker'? All else"),
        ("import vastai.serverless.client", "All else is in the package vastai: pip install vastai"),
        ("from vastai_sdk import Deployment", "pip install vastai-sdk"),
        ("from vastai.serverless.server.lib.backend import Nothing", "pip install vastai"),
        ("from lib.backend import Backnd", "pyworker's lib.backend has no 'Backnd': did you mean 'Backend'?"),
        ("from lib.metrics import Q", "pyworker's lib.metrics has no 'Q': there is Metrics, get_url."),
        ("import lib.elsewhere", "No module named 'lib.elsewhere'"),
        ("import vastai; vastai.VastAI", "module 'vastai' has no attribute 'VastAI'"),
    ],
)
def test_a_name_that_is_not_offered_is_told_with_who_has_it(tmp_path: Path, line: str, told: str) -> None:
    assert told in alone(tmp_path, INSTALL + line)


@pytest.mark.usefixtures("installed")
def test_an_optional_import_stays_optional() -> None:
    with pytest.raises(ImportError):
        importlib.import_module("vastai.nothing")
    assert not hasattr(importlib.import_module("vastai"), "nothing")
    assert importlib.util.find_spec("lib_that_is_not_there") is None


def test_the_guides_own_library_gives_way_and_what_else_it_has_is_there(tmp_path: Path) -> None:
    own = tmp_path / "repo" / "lib"
    own.mkdir(parents=True)
    for file in compat.GUIDES["lib"]:
        (own / file).write_text("raise RuntimeError('theirs')")
    (own / "more.py").write_text("here = True")
    code = f"""{INSTALL}
from lib.backend import Backend
from lib.more import here
import pyworker
assert Backend is pyworker.Backend and here
print("good")
"""
    assert alone(tmp_path, code, str(own.parent)) == "good"


def test_a_library_of_the_authors_own_is_left_as_it_is_and_only_added_to(tmp_path: Path) -> None:
    own = tmp_path / "repo"
    for name, text in {"lib/backend.py": "Backend = 'theirs'", "utils.py": "here = True"}.items():
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text(text)
    code = f"""{INSTALL}
from lib.backend import Backend
from lib.data_types import EndpointHandler
import utils, pyworker
assert Backend == 'theirs' and EndpointHandler is pyworker.EndpointHandler and utils.here
print("good")
"""
    assert alone(tmp_path, code, str(own)) == "good"


@needs_sdk
@pytest.mark.limit_s(90)
def test_the_real_package_has_all_else_when_it_is_installed(tmp_path: Path) -> None:
    site = str(sdk_site())
    code = f"""{INSTALL}
import json, sys
from vastai.serverless.server.lib.backend import Backend
from vastai import Serverless
ours = "vastai.api" not in sys.modules
from vastai import VastAI, Serverless, Deployment
from vastai.data.endpoint import EndpointConfig
from vastai.serverless.client.client import Serverless as Real
from vastai.serverless.server.lib.backend import start_server_that_nobody_has
"""
    tail = """
try:
    from vastai import nothing
except ImportError as error:
    told = str(error)
import pyworker, vastai, vastai_sdk
print(json.dumps([ours, Backend is pyworker.Backend, VastAI.__module__, Serverless.__module__, Real.__module__,
    EndpointConfig.__module__, vastai.Deployment is Deployment, vastai_sdk.VastAI is VastAI, told]))
"""
    told = alone(tmp_path, code, site)
    assert "start_server_that_nobody_has" in told
    *seen, told = json.loads(alone(tmp_path, code.rpartition("from ")[0] + tail, site))
    assert seen[:5] == [True, True, "vastai.sdk", "pyworker.client.serverless", "vastai.serverless.client.client"]
    assert seen[5:] == ["vastai.data.endpoint", True, True]
    assert told == "neither pyworker nor the package vastai that is installed has 'vastai.nothing'"
