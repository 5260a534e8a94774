"""Which files of a worker have changed: their times are looked at, again and again.

A worker has a few dozen files, and looking at them takes less than a millisecond. So no library is needed that is told
by the system.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

__all__ = ["Watch"]

_NOT_INTO: Final = frozenset({"__pycache__", "node_modules", "site-packages"})
_DEEPEST: Final = 5
_MOST_FILES: Final = 2_000  # a worker in somebody's home folder is no reason to read the whole of it

Seen = dict[str, tuple[int, int, int]]


class Watch:
    """The Python files under ``folder``, and ``others`` that were imported from elsewhere."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._others: set[str] = set()
        self._seen = self._look()
        self._unsettled: Seen | None = None

    def watch_too(self, others: Iterable[str], since_ns: int) -> None:
        """Look at these files as well; one that was written after ``since_ns`` (Unix time) counts as changed."""
        new = {other for other in others if other not in self._seen} - self._others
        self._others |= new
        self._seen |= {path: seen for path, seen in _times(new).items() if seen[0] <= since_ns}

    def changed(self) -> list[str]:
        """The files that have changed since last told, once they are at rest: so that none is half written."""
        now = self._look()
        if now == self._seen:
            self._unsettled = None
            return []
        if now != self._unsettled:
            self._unsettled = now
            return []
        before, self._seen, self._unsettled = self._seen, now, None
        return sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))

    def _look(self) -> Seen:
        return _times([*_python_files(self._folder), *self._others])


def _times(paths: Iterable[str]) -> Seen:
    seen: Seen = {}
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:  # it is being replaced
            continue
        seen[path] = found.st_mtime_ns, found.st_size, found.st_ino
    return seen


def _python_files(top: str) -> Iterator[str]:
    count = 0
    for folder, folders, files in os.walk(top):
        deep = len(Path(folder).relative_to(top).parts)
        folders[:] = [
            name for name in sorted(folders) if deep < _DEEPEST and _is_looked_into(os.path.join(folder, name))
        ]
        for name in files:
            if name.endswith(".py"):
                yield os.path.join(folder, name)
                count += 1
        if count > _MOST_FILES:
            return


def _is_looked_into(folder: str) -> bool:
    name = os.path.basename(folder)
    return not name.startswith(".") and name not in _NOT_INTO and not os.path.exists(os.path.join(folder, "pyvenv.cfg"))
