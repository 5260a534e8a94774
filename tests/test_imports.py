"""Every module can be imported alone, and its import does nothing but define."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

import pyworker
from tests.support.source import ROOT, modules

HEAVY = {"gguf", "hypothesis", "numpy", "pytest", "ray", "rich", "typer", "unittest", "wonderwords", "xllamacpp"}

# One interpreter with the libraries loaded, and a fork of it for every module: as good as fresh, and quick. Whatever
# module of the package is asked for, the package itself comes first, and what it loads comes in the same order.
IMPORT_ALL = """
import importlib, json, logging, os, sys, threading
import aiohttp.web, cryptography.hazmat.primitives.serialization, msgspec, prometheus_client, rich, typer, uvloop
import openai

IO = ("open", "socket.", "subprocess.", "os.system", "os.mkdir", "os.remove", "os.rename", "shutil.", "sqlite3.")
CODE = (".py", ".pyc", ".so")
PACKAGE = tuple(os.path.join(os.getcwd(), part, "") for part in ("src", "lib", "utils"))

done, watching = [], False

class Environment(dict):
    def __getitem__(self, name): note_read(name); return super().__getitem__(name)
    def get(self, name, default=None): note_read(name); return super().get(name, default)
    def __contains__(self, name): note_read(name); return super().__contains__(name)

def note_read(name):  # by the package: a worker is a script and may
    if sys._getframe(2).f_code.co_filename.startswith(PACKAGE):
        done.append(f"read of {name}")

def note(event, args):
    what = str(args[0]) if args else ""
    if watching and event.startswith(IO) and not what.endswith(CODE) and not what.startswith(sys.prefix):
        done.append(f"{event} {what}")

def import_alone(name):
    global watching
    environment, handlers = os.environ, list(logging.root.handlers)
    sys.addaudithook(note)
    os.environ, watching = Environment(environment), True
    try:
        importlib.import_module(name)
    except BaseException as error:
        done.append(f"{type(error).__name__}: {error}")
    os.environ, watching = environment, False
    if threading.active_count() > 1: done.append("a thread")
    if logging.root.handlers != handlers or logging.root.level != logging.WARNING: done.append("the root logger")
    print(json.dumps([name, done]), flush=True)

def in_a_fork(name):
    child = os.fork()
    if not child:
        import_alone(name)
        os._exit(0)
    os.waitpid(child, 0)

in_a_fork("pyworker")
import pyworker
for name in sys.argv[1:]:
    if name not in sys.modules:
        in_a_fork(name)
"""


def run(*arguments: str) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)  # noqa: S603 - our own
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.limit_s(120)
def test_every_module_imports_alone_and_its_import_does_nothing() -> None:
    names = [module.name for module in modules() if module.path.name != "__main__.py"]
    done = dict(json.loads(line) for line in run("-c", IMPORT_ALL, *names).splitlines())
    assert {name: what for name, what in done.items() if what} == {}
    assert {"pyworker", "pyworker.cli", "lib.backend"} <= done.keys()


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = run("-c", "import sys, pyworker, lib.backend, lib.server; print(*sys.modules)").split()
    assert not HEAVY & set(loaded)


def test_every_name_in_all_exists_and_stands_there_once() -> None:
    for module in modules("src/pyworker", "lib", "utils"):
        loaded = importlib.import_module(module.name)
        names = getattr(loaded, "__all__", [])
        assert not [name for name in names if not hasattr(loaded, name)], module.place
        assert len(set(names)) == len(names), module.place


def test_the_package_has_the_names_of_the_extension_api() -> None:
    by_subclass = {
        "ApiPayload",
        "AuthData",
        "Backend",
        "EndpointHandler",
        "JsonDataException",
        "LogAction",
        "start_server",
    }
    assert by_subclass <= set(pyworker.__all__)
    assert pyworker.__version__
