"""What goes wrong with files and SQLite, as errors that say what to do."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pyworker.errors import BadRequest, StoreBusy, StoreDamaged, StoreError, StoreFull, StoreNotWritable

__all__ = ["explained"]

_ALMOST_NOTHING: Final = 64 * 1024  # bytes: in as little as this SQLite cannot make the files that it needs beside
_DISK: Final = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
_OF_SQLITE: Final[dict[int, tuple[type[StoreError], str]]] = {
    sqlite3.SQLITE_FULL: (StoreFull, "the disk that holds {} is full: make room on it; this change was not stored"),
    sqlite3.SQLITE_READONLY: (StoreNotWritable, "{} cannot be written: make it and its folder this user's"),
    sqlite3.SQLITE_PERM: (StoreNotWritable, "{} cannot be written: make it and its folder this user's"),
    sqlite3.SQLITE_CANTOPEN: (StoreNotWritable, "{} cannot be opened: make it and its folder this user's"),
    sqlite3.SQLITE_CORRUPT: (StoreDamaged, "{} is damaged: move it away and put a backup in its place"),
    sqlite3.SQLITE_NOTADB: (StoreDamaged, "{} is not a store, or damaged: move it away and put a backup in its place"),
    sqlite3.SQLITE_BUSY: (StoreBusy, "another program holds {} (an open sqlite3 shell?): end it, then try again"),
    sqlite3.SQLITE_LOCKED: (StoreBusy, "another program holds {} (an open sqlite3 shell?): end it, then try again"),
    sqlite3.SQLITE_IOERR: (StoreError, "{} cannot be read or written: look at the disk, its quota, the file limit"),
}
_OF_FILES: Final[dict[int, tuple[type[StoreError], str]]] = {
    errno.ENOSPC: _OF_SQLITE[sqlite3.SQLITE_FULL],
    errno.EDQUOT: _OF_SQLITE[sqlite3.SQLITE_FULL],
    errno.EACCES: _OF_SQLITE[sqlite3.SQLITE_PERM],
    errno.EPERM: _OF_SQLITE[sqlite3.SQLITE_PERM],
    errno.EROFS: _OF_SQLITE[sqlite3.SQLITE_PERM],
}


@contextmanager
def explained(path: Path) -> Generator[None]:
    """Errors of files and of SQLite become StoreErrors that name ``path``; what it cannot hold, a BadRequest."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise BadRequest(f"the store does not take this: {error}") from None
    except sqlite3.Error as error:
        raise _of_sqlite(error, path) from error
    except OSError as error:
        kind, words = _OF_FILES.get(error.errno or 0, (StoreError, "{} cannot be used"))
        raise kind(f"{words.format(error.filename or path)} ({error.strerror or error})") from error
    except OverflowError:
        raise BadRequest("a whole number is too large to be stored: it has at most 63 bits") from None
    except UnicodeEncodeError:
        raise BadRequest("a text cannot be stored: it is not valid Unicode (half of a surrogate pair?)") from None


def _of_sqlite(error: sqlite3.Error, path: Path) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says where in SQLite
    if code in _DISK and _is_full(path):
        code = sqlite3.SQLITE_FULL
    kind, words = _OF_SQLITE.get(code, (StoreError, "the store {} failed"))
    return kind(f"{words.format(path)} ({error})")


def _is_full(path: Path) -> bool:
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _ALMOST_NOTHING
