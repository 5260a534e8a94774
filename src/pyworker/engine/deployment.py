"""A deployment from its file: ``deployment.toml``, or the folder that it lies in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from pyworker.engine.core.deployment.reading import Deployment, Surroundings, read_deployment
from pyworker.errors import DeploymentError
from pyworker.settings import environment, misspelt_variable

__all__ = ["FILE_NAME", "Deployment", "load"]

FILE_NAME: Final = "deployment.toml"
ENTRIES: Final = ("server.py", "worker.py")
RUN: Final = ("{python}", "-m", "pyworker.cli", "run")


def load(path: Path, env: Mapping[str, str] | None = None) -> Deployment:
    """The deployment that a file describes, or the ``deployment.toml`` of a folder.

    Paths in it are relative to the file; ``${NAME}`` comes from ``env``, which is this process's environment unless
    given. Raises DeploymentError with all that is wrong, each as ``file:line: field: what to do``.
    """
    file = path / FILE_NAME if path.is_dir() else path
    folder = file.resolve().parent
    around = Surroundings(
        environment=environment() if env is None else env,
        worker_command=partial(_worker_command, folder),
        folder=partial(_folder, folder),
        variable_problem=misspelt_variable,
    )
    read = read_deployment(_text(file), around)
    if isinstance(read, Deployment):
        return read
    raise DeploymentError(
        [
            f"{file}:{problem.line}: {problem.field}: {problem.words}".replace(": : ", ": ")  # no field: no TOML
            for problem in read
        ]
    )


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DeploymentError([f"there is no {file}: give a {FILE_NAME}, or a folder with one"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DeploymentError([f"{file} cannot be read: {error}"]) from None


def _worker_command(folder: Path, path: str) -> tuple[str, ...]:
    """What runs the worker from any working directory."""
    worker = (folder / path).resolve()
    if worker.is_file() or any((worker / name).is_file() for name in ENTRIES):
        return (*RUN, str(worker))
    if worker.is_dir():
        raise ValueError(f"the folder {worker} holds neither {' nor '.join(ENTRIES)}")
    raise ValueError(f"there is no {worker}: give a worker's folder or file, from this file's folder")


def _folder(folder: Path, path: str) -> str:
    chosen = (folder / path).resolve()
    if not chosen.is_dir():
        raise ValueError(f"there is no folder {chosen}")
    return str(chosen)
