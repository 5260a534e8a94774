"""Variables that a worker's files want and that are not set: all of them, in one run of the files."""

from __future__ import annotations

import ast
import functools
import inspect
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from pyworker.checking.author import AuthorCode, shown
from pyworker.checking.findings import fault
from pyworker.settings import environment
from pyworker.wire_check import Finding

__all__ = ["MissingVariables", "stand_in"]


class MissingVariables:
    """Lets ``os.environ["X"]`` in an author's file go on without X, and notes it."""

    def __init__(self, author: AuthorCode) -> None:
        self._author = author
        self.places: dict[str, tuple[str, str]] = {}  # where each is read, and what comes of it
        self.is_loaded = False

    def install(self) -> None:
        """For the rest of this process, which is there for nothing else."""
        kind: Any = type(environment())
        get = kind.__getitem__

        def get_or_stand_in(env: Any, name: str) -> str:
            try:
                return get(env, name)
            except KeyError:
                asking = _asking(inspect.currentframe())
                file, line = asking.f_code.co_filename, asking.f_lineno
                if not self._author.holds(file) or is_prepared(file, line):
                    raise
                comes = "what reads it fails with a KeyError" if self.is_loaded else "the worker ends with a KeyError"
                self.places.setdefault(name, (shown(file, line), comes))
                return stand_in(name)

        kind.__getitem__ = get_or_stand_in

    def findings(self) -> Iterator[Finding]:
        """A fault for each."""
        for name, (place, comes) in self.places.items():
            remedy = f"set {name}, or give a default: os.environ.get({name!r}, ...); for this dry run: --env {name}=..."
            yield fault("variable", place, f"the variable {name} is not set: {comes}", remedy)


def _asking(frame: FrameType | None) -> FrameType:
    """Who called the function that this is the frame of."""
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back


def stand_in(name: str) -> str:
    """A value that lets the rest of the worker be looked at."""
    words = name.upper().split("_")
    if {"URL", "URI", "ADDR", "ADDRESS", "SERVER", "ENDPOINT"} & {*words}:
        return "http://127.0.0.1:9"
    if {"HOST", "IPADDR"} & {*words}:
        return "127.0.0.1"
    if {"LOG", "FILE", "PATH", "DIR", "FOLDER"} & {*words}:
        return str(Path(tempfile.gettempdir()) / name.lower())
    return "1"


def is_prepared(file: str, line: int) -> bool:
    """Whether the line stands in a ``try`` that takes a KeyError."""
    return any(begin <= line <= end for begin, end in _tries(file))


@functools.cache
def _tries(file: str) -> tuple[tuple[int, int], ...]:
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return ()
    return tuple(
        (node.lineno, max(last.end_lineno or last.lineno for last in node.body))
        for node in ast.walk(tree)
        if isinstance(node, ast.Try) and any(_takes_key_errors(handler) for handler in node.handlers)
    )


def _takes_key_errors(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    names = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    return bool(names & {"KeyError", "LookupError", "Exception", "BaseException"})
