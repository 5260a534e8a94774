"""A worker's file is found and run up to where it would serve, and leaves nothing behind."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyworker import start_server
from pyworker.errors import ConfigurationError, WorkerFileFailed
from pyworker.loading import load
from tests.support.source import ROOT

SERVES = """
from pyworker import Backend, start_server
backend = Backend(model_server_url="http://127.0.0.1:5001")
start_server(backend, [], port=0)
raise RuntimeError("what follows is for the end of serving")
"""


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    before = list(sys.path), list(sys.argv), sys.modules["__main__"]
    yield
    assert (sys.path, sys.argv, sys.modules["__main__"]) == before
    assert not {"data_types", "helpers", "crew", "crew.foo"} & sys.modules.keys()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_folder_is_its_server_with_its_routes_and_its_files() -> None:
    with load(str(ROOT / "workers" / "hello_world")) as loaded:
        folder = loaded.target.folder
        assert loaded.target.file == folder / "server.py"
        assert {route.path for route in loaded.routes} == {"/generate", "/generate_stream", "/ping", "/healthcheck"}
        assert [type(mount.handler).__name__ for mount in loaded.backend.mounts] == [
            "GenerateHandler",
            "GenerateStreamHandler",
        ]
        assert loaded.files[0] == folder / "server.py"
        assert {folder / "data_types.py", folder / "random_words.py"} <= set(loaded.files)
        assert not any(file.is_relative_to(ROOT / "src") for file in loaded.files)


def test_a_file_above_its_folder_stands_in_for_none_of_pythons_own_and_one_beside_it_does(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "crew", tmp_path / "crew" / "foo"):
        write(folder / "wave.py", "STRAY = True")
    imports = "import wave\nassert hasattr(wave, 'STRAY') is {stray}\nimport sys\ndel sys.modules['wave']\n"
    write(tmp_path / "crew" / "foo" / "worker.py", imports.format(stray=True) + SERVES)
    write(tmp_path / "crew" / "bar" / "worker.py", imports.format(stray=False) + SERVES)
    before = list(sys.meta_path)
    for name in ("foo", "bar"):
        load(str(tmp_path / "crew" / name)).close()
    assert sys.meta_path == before


def test_of_a_folder_that_has_both_files_the_newer_style_is_run(tmp_path: Path) -> None:
    for name in ("server.py", "worker.py"):
        write(tmp_path / name, SERVES)
    with load(str(tmp_path)) as loaded:
        assert loaded.target.file == tmp_path / "worker.py"


def test_a_module_by_its_name_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for name in ("workers.hello_world.server", "workers.hello_world"):
        with load(name) as loaded:
            assert loaded.target.file == ROOT / "workers" / "hello_world" / "server.py"


def test_a_file_is_run_to_where_it_would_serve_and_no_further(tmp_path: Path) -> None:
    with load(str(write(tmp_path / "worker.py", SERVES))) as loaded:
        assert loaded.backend.model_server_url == "http://127.0.0.1:5001"
        assert loaded.keywords == {"port": 0}
        assert sys.modules["__main__"].__dict__["backend"] is loaded.backend


@pytest.mark.parametrize(
    "import_", ["from .data_types import X", "from crew.foo.data_types import X", "import helpers"]
)
def test_its_imports_may_be_relative_from_the_root_or_of_files_beside_it(tmp_path: Path, import_: str) -> None:
    folder = tmp_path / "crew" / "foo"
    write(folder / "data_types.py", "X = 1")
    write(folder / "helpers.py", "")
    write(folder / "server.py", f"{import_}\n{SERVES}")
    with load(str(folder)) as loaded:
        assert len(loaded.files) == 2


def test_relative_imports_work_where_the_folder_above_has_no_name_for_python(tmp_path: Path) -> None:
    folder = tmp_path / "my-crew" / "foo"
    write(folder / "data_types.py", "X = 1")
    write(folder / "server.py", f"from .data_types import X\n{SERVES}")
    with load(str(folder)) as loaded:
        assert loaded.files == (folder / "server.py", folder / "data_types.py")


def test_a_folder_called_like_a_library_does_not_become_that_library(tmp_path: Path) -> None:
    folder = tmp_path / "json" / "foo"
    write(folder / "server.py", f"import json.decoder\n{SERVES}")
    with load(str(folder)) as loaded:
        assert loaded.target.file == folder / "server.py"


def test_an_exception_is_told_with_the_workers_own_line(tmp_path: Path) -> None:
    write(tmp_path / "helpers.py", "import json\n\ndef read():\n    return json.loads('no json')\n")
    file = write(tmp_path / "worker.py", "import helpers\nhelpers.read()\n")
    with pytest.raises(WorkerFileFailed, match=r"helpers\.py, line 4: JSONDecodeError: Expecting value") as told:
        load(str(file))
    assert type(told.value.__cause__).__name__ == "JSONDecodeError"


def test_a_mistake_in_our_arguments_is_told_with_the_line_that_makes_it(tmp_path: Path) -> None:
    file = write(tmp_path / "worker.py", "from pyworker import Backend\n\nBackend(model_server='http://x')\n")
    with pytest.raises(WorkerFileFailed, match=r"worker\.py, line 3: Backend has no keyword 'model_server'"):
        load(str(file))


def test_broken_syntax_is_told_with_its_line(tmp_path: Path) -> None:
    file = write(tmp_path / "worker.py", "x = 1\ndef f(:\n")
    with pytest.raises(WorkerFileFailed, match=r"worker\.py, line 2: SyntaxError: "):
        load(str(file))


def test_a_worker_that_leaves_by_itself_is_told_with_what_it_said(tmp_path: Path) -> None:
    file = write(tmp_path / "worker.py", "import sys\nsys.exit('set MODEL_NAME')\n")
    with pytest.raises(
        WorkerFileFailed, match=r"worker\.py, line 2: it ended by itself, before it served: set MODEL_NAME"
    ):
        load(str(file))


def test_a_server_that_is_started_among_other_things_is_found(tmp_path: Path) -> None:
    lines = SERVES.splitlines()
    indented = "\n".join(f"    {line}" for line in lines)
    file = write(tmp_path / "worker.py", f"import asyncio\nasync def main():\n{indented}\nasyncio.run(main())\n")
    with load(str(file)) as loaded:
        assert loaded.keywords == {"port": 0}
    tidy = f"import sys\ntry:\n{indented}\nfinally:\n    sys.exit(3)\n"
    with load(str(write(tmp_path / "worker.py", tidy))) as loaded:
        assert loaded.keywords == {"port": 0}


def test_a_misspelt_keyword_of_start_server_is_told(tmp_path: Path) -> None:
    file = write(tmp_path / "worker.py", SERVES.replace("port=0", "prot=0"))
    with pytest.raises(WorkerFileFailed, match="did you mean 'port'"):
        load(str(file))


def test_a_file_that_starts_no_server_is_told(tmp_path: Path) -> None:
    file = write(tmp_path / "worker.py", 'if __name__ == "main":\n    pass\n')
    with pytest.raises(ConfigurationError, match="ended without calling start_server"):
        load(str(file))


def test_a_target_that_is_not_there_is_told_with_what_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "workers" / "hello" / "worker.py", SERVES)
    write(tmp_path / "notes.txt", "")
    for target, told in {
        "workers/helo": "a Python file, or a module; did you mean 'workers/hello'?",
        "workers/hello/worke.py": "did you mean 'workers/hello/worker.py'",
        "workers": "neither server.py nor worker.py; did you mean `pyworker run workers/hello`",
        "notes.txt": "notes.txt is no Python file",
        "json": "there is no worker 'json'",
        "not.there": "there is no worker 'not.there'",
    }.items():
        with pytest.raises(ConfigurationError, match=re.escape(told)):
            load(target)


def test_serving_is_for_real_again_once_a_worker_is_loaded(tmp_path: Path) -> None:
    with load(str(write(tmp_path / "worker.py", SERVES))) as loaded:
        pass
    with pytest.raises(SystemExit):
        start_server(loaded.backend, [], prot=0)
