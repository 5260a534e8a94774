"""The author's own code: which files are his, where in them something was raised or called, and calling it."""

from __future__ import annotations

import asyncio
import inspect
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from pyworker.worker.author_code import is_async

__all__ = ["AuthorCode", "Tried", "attempt", "attempt_in_loop", "attempt_in_thread", "shown"]

_PACKAGE: Final = Path(__file__).resolve().parents[1]
_LIBRARIES: Final = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))


@dataclass(frozen=True)
class AuthorCode:
    """The folder a worker was written in."""

    folder: Path

    def files(self) -> Iterator[Path]:
        """Its Python files, and those of its folders that are not hidden."""
        for path in sorted([*self.folder.glob("*.py"), *self.folder.glob("[!.]*/*.py")]):
            if path.is_file():
                yield path

    def holds(self, file: str) -> bool:
        """Whether this is one of the author's files."""
        path = Path(file)
        if not path.is_absolute() or path.is_relative_to(_PACKAGE):
            return False
        return path.is_relative_to(self.folder) and "site-packages" not in path.parts

    def is_own(self, file: str) -> bool:
        """Whether this is neither ours nor a library's: the author's, or another file beside the worker's folder."""
        path = Path(file)
        known = (_PACKAGE, *_LIBRARIES)
        return path.is_absolute() and not any(path.is_relative_to(folder) for folder in known)

    def place_of_error(self, error: BaseException) -> str | None:
        """Where in the author's code an exception came from: the innermost line of it."""
        if isinstance(error, SyntaxError) and error.filename and error.lineno:
            return shown(error.filename, error.lineno)
        frames = traceback.extract_tb(error.__traceback__)
        for own in (self.holds, self.is_own):
            lines = [frame for frame in frames if own(frame.filename)]
            if lines:
                return shown(lines[-1].filename, lines[-1].lineno or 0)
        return None

    def place_of_caller(self) -> str | None:
        """The innermost of the author's lines that are being run."""
        frame = inspect.currentframe()
        while frame is not None:
            if self.holds(frame.f_code.co_filename):
                return shown(frame.f_code.co_filename, frame.f_lineno)
            frame = frame.f_back
        return None

    def place_of(self, what: Any) -> str:
        """Where a class, function or method is defined; its name where that cannot be seen."""
        named = inspect.unwrap(what) if callable(what) else cast("Any", type(what))
        try:
            file, line = inspect.getsourcefile(named), inspect.getsourcelines(named)[1]
        except (TypeError, OSError):
            file, line = None, 0
        if file is None or not self.is_own(file):
            return getattr(named, "__qualname__", type(named).__name__)
        return shown(file, line)


def shown(file: str, line: int) -> str:
    """``server.py:12``, from the current folder where it lies in it."""
    path = Path(file).resolve()
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return f"{path}:{line}"


@dataclass(frozen=True)
class Tried:
    """What a call of the author's code gave, or raised."""

    value: Any = None
    error: Exception | SystemExit | None = None


def attempt(call: Callable[..., Any], *args: Any) -> Tried:
    """Call the author's code, which may raise anything."""
    try:
        return Tried(call(*args))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is not ours
        return Tried(error=error)


async def attempt_in_thread(call: Callable[..., Any], *args: Any) -> Tried:
    """The same for what a worker, too, calls outside of its event loop."""
    if is_async(call):
        return await attempt_in_loop(call, *args)
    return await asyncio.to_thread(attempt, call, *args)


async def attempt_in_loop(call: Callable[..., Any], *args: Any) -> Tried:
    """The same for what a worker calls in its event loop, sync or async."""
    tried = attempt(call, *args)
    if tried.error is not None or not inspect.isawaitable(tried.value):
        return tried
    try:
        return Tried(await tried.value)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is not ours
        return Tried(error=error)
