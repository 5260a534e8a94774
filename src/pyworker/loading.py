"""A worker's file, found and run: for real by `pyworker run`, and without serving to look at its parts.

A target is a folder with ``server.py`` or ``worker.py``, a Python file, or a module's name. Its file runs as
``__main__``, as part of its package (``workers.hello_world``, say), so that its imports work either way: relative,
from the repository's root, and of the files beside it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Final, Self

from aiohttp import web

from pyworker import compat
from pyworker.backend import Backend
from pyworker.errors import ConfigurationError, WorkerFileFailed
from pyworker.names import nearest
from pyworker.worker.interception import served_by

__all__ = ["ENTRIES", "Loaded", "Target", "execute", "find", "load", "where_it_failed"]

ENTRIES: Final = ("worker.py", "server.py")  # of a folder, the first that there is: as start scripts have it
_SHOWN: Final = "a folder with server.py or worker.py, a Python file, or a module"


@dataclass(frozen=True)
class Target:
    """What a target means: the ``file`` to run, and what goes first into ``sys.path`` for it.

    ``around``: those of the ``paths`` that are not the file's own folder; a module that lies there by chance
    (``wave.py``) does not stand in for one of Python's.
    ``packages``: what the file may be a part of, the likeliest first; () is for a file by itself.
    """

    name: str
    file: Path
    paths: tuple[str, ...]
    packages: tuple[str, ...] = ()
    around: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where its own files lie."""
        return self.file.parent


def find(target: str) -> Target:
    """The file that a target means. Runs nothing but the packages that a module's name goes through.

    Raises ConfigurationError saying what to type instead.
    """
    path = Path(target)
    if path.is_dir():
        return _of_file(target, _entry(path))
    if path.is_file():
        if path.suffix != ".py":
            raise ConfigurationError(f"{target} is no Python file: give {_SHOWN}")
        return _of_file(target, path)
    return _of_module(target)


def execute(target: Target) -> None:
    """Run it as ``__main__``, which it stays; what it raises comes through as it is."""
    sys.path[:0] = target.paths
    sys.meta_path.insert(sys.meta_path.index(PathFinder), _PythonsOwnFirst(target.around))
    sys.argv[:] = [str(target.file)]  # its own command line is empty; ours is none of its business
    package = next(filter(None, (_imported(name, target.folder) for name in target.packages)), None)
    main = _main_module(target.file, package)
    sys.modules["__main__"] = main
    SourceFileLoader("__main__", str(target.file)).exec_module(main)


@dataclass
class Loaded:
    """A worker whose ``start_server`` was called and did not serve: its parts, to be looked at.

    ``keywords`` are those of ``start_server``, ``files`` all that was imported from where the worker lies, the file
    itself first. ``close`` takes the worker out of this process again; a process of its own need not.
    """

    target: Target
    backend: Backend
    routes: list[web.AbstractRouteDef]
    keywords: Mapping[str, Any]
    files: tuple[Path, ...]
    _restore: Callable[[], None] = field(repr=False)

    def close(self) -> None:
        """Put ``sys.path``, ``sys.argv``, ``__main__`` and the imported modules back as they were."""
        self._restore()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load(target: str) -> Loaded:
    """Run a worker up to where it would serve.

    Raises ConfigurationError when there is no such target or it ended without starting a server, WorkerFileFailed with
    file and line when it raised something or left by ``sys.exit``.
    """
    restore = _snapshot()
    served: list[tuple[Backend, list[web.AbstractRouteDef], Mapping[str, Any]]] = []

    def note(backend: Backend, routes: list[web.AbstractRouteDef], keywords: Mapping[str, Any]) -> None:
        served.append((backend, routes, keywords))
        raise _WouldServe

    compat.install()
    try:
        found = find(target)
        with served_by(note):
            _execute_until(served, found)
        if not served:
            raise never_served(target)
    except BaseException:
        restore()
        raise
    backend, routes, keywords = served[0]
    return Loaded(found, backend, routes, keywords, files_of(found), restore)


def where_it_failed(target: Target, error: BaseException) -> WorkerFileFailed:
    """The error with the line of the worker's own files that it comes from."""
    if isinstance(error, SystemExit):
        said = "it ended by itself, before it served" + (f": {error.code}" if error.code is not None else "")
    else:
        said = _in_words(error)
    failed = WorkerFileFailed(f"{_place(target, error)}: {said}")
    failed.__cause__ = error
    return failed


def never_served(target: str) -> ConfigurationError:
    """It came to its end, and no server was started."""
    return ConfigurationError(
        f'{target} ended without calling start_server or Worker.run; is the `if __name__ == "__main__"` block missing?'
    )


def files_of(target: Target) -> tuple[Path, ...]:
    """The worker's file, and what is imported of its package and of the folders that it is found through."""
    places = {_place_of(module) for module in list(sys.modules.values())}
    own = {file for file in places if file and file != target.file and file.suffix and _is_own(target, file)}
    return (target.file, *sorted(own))


class _WouldServe(BaseException):
    """Ends the worker's file where it would serve. No Exception, so that nothing in it takes it for one."""


def _execute_until(served: Sequence[object], target: Target) -> None:
    """What is raised once something was served comes from leaving the file early."""
    try:
        execute(target)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if not served:
            raise where_it_failed(target, error) from error


# --- finding ----------------------------------------------------------------------------------------


def _entry(folder: Path) -> Path:
    entry = next((folder / name for name in ENTRIES if (folder / name).is_file()), None)
    if entry is not None:
        return entry
    workers = sorted(path.parent for name in ENTRIES for path in folder.glob(f"*/{name}"))
    hint = f"; did you mean `pyworker run {workers[0]}`?" if workers else ""
    raise ConfigurationError(f"the folder {folder} holds neither server.py nor worker.py{hint}")


def _of_file(name: str, path: Path) -> Target:
    file = path.resolve()
    folder = file.parent
    paths = (str(folder.parent.parent), str(folder), str(Path.cwd()), str(folder.parent))
    packages = (f"{folder.parent.name}.{folder.name}", folder.name)
    around = tuple(path for path in paths if path != str(folder))
    return Target(name, file, paths, tuple(package for package in packages if _is_dotted(package)), around)


def _of_module(name: str) -> Target:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    spec = _spec(name)
    if spec is not None and spec.submodule_search_locations:
        spec = next(filter(None, (_spec(f"{name}.{part}") for part in ("__main__", "server", "worker"))), None)
    if spec is None or not (spec.origin or "").endswith(".py"):
        raise ConfigurationError(f"there is no worker {name!r}: give {_SHOWN}{_hint(name)}")
    return Target(name, Path(str(spec.origin)).resolve(), (here,), (spec.parent,) if spec.parent else ())


def _hint(name: str) -> str:
    """What of the same folder was probably meant."""
    path = Path(name)
    beside = [other.name for other in path.parent.glob("*") if other.is_dir() or other.suffix == ".py"]
    near = nearest(path.name, beside) if path.name else None
    return "" if near is None else f"; did you mean {str(path.with_name(near))!r}?"


def _spec(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name) if _is_dotted(name) else None
    except (ImportError, ValueError):  # a parent that is no package; a module without a spec
        return None


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


class _PythonsOwnFirst(MetaPathFinder):
    """Finds the standard library's modules past some folders of ``sys.path``."""

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = folders

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,  # noqa: ARG002 - as Python calls it
    ) -> ModuleSpec | None:
        """None for what is none of Python's own."""
        if path is not None or fullname not in sys.stdlib_module_names:
            return None
        return PathFinder.find_spec(fullname, [folder for folder in sys.path if folder not in self._folders])


# --- running ----------------------------------------------------------------------------------------


def _imported(package: str, folder: Path) -> str | None:
    """The package when its name leads to the folder: another of the same name may be installed."""
    spec = _spec(package)
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    if not any(Path(place).resolve() == folder for place in places):
        return None
    importlib.import_module(package)
    return package


def _main_module(file: Path, package: str | None) -> ModuleType:
    """As ``python -m`` makes it, or ``python FILE`` where there is no package."""
    spec = importlib.util.spec_from_file_location(f"{package}.{file.stem}" if package else "__main__", file)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__name__ = "__main__"
    module.__loader__ = SourceFileLoader("__main__", str(file))
    if package is None:
        module.__spec__ = None
    return module


def _is_own(target: Target, file: Path) -> bool:
    """Beside the worker's file or in its package, but no library that lies there too."""
    return file.is_relative_to(target.folder.parent if target.packages else target.folder) and not _is_installed(file)


def _is_installed(file: Path) -> bool:
    installed = any(part in {"site-packages", "dist-packages"} for part in file.parts)
    return installed or any(file.is_relative_to(folder) for folder in _INSTALLED)


_INSTALLED: Final = (sysconfig.get_path("stdlib"), str(Path(__file__).parent))


def _place_of(module: ModuleType | None) -> Path | None:
    """Its file, or the folder of a package without one."""
    name: object = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return Path(name) if isinstance(name, str) else None


def _snapshot() -> Callable[[], None]:
    """Undoes what a worker's file does to this process's imports."""
    path, argv, modules, finders = list(sys.path), list(sys.argv), dict(sys.modules), list(sys.meta_path)
    compat_was_there = compat.is_installed()

    def restore() -> None:
        if not compat_was_there:
            compat.uninstall()
        roots = tuple(folder for folder in sys.path if folder not in path)
        for name in [name for name in sys.modules if name not in modules and _lies_in(roots, sys.modules[name])]:
            del sys.modules[name]
        sys.path[:], sys.argv[:] = path, argv
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder in finders]
        sys.modules["__main__"] = modules["__main__"]

    return restore


def _lies_in(roots: Sequence[str], module: ModuleType) -> bool:
    place = _place_of(module)
    return place is not None and not _is_installed(place) and any(place.is_relative_to(root) for root in roots)


# --- words ------------------------------------------------------------------------------------------


def _place(target: Target, error: BaseException) -> str:
    """File and line: of the innermost of the worker's own lines."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_own(target, Path(frame.filename))]
    return f"{own[-1].filename}, line {own[-1].lineno}" if own else str(target.file)


def _in_words(error: BaseException) -> str:
    if isinstance(error, ConfigurationError):
        return str(error)
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
