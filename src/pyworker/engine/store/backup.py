"""A copy of a store that is in use: one file, complete, of one moment."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from pyworker.engine.private_files import sync_folder
from pyworker.engine.store.failures import explained
from pyworker.errors import StoreDamaged, StoreError

__all__ = ["copy_store", "copy_store_file"]

BUSY_S: Final = 5.0


def copy_store(source: sqlite3.Connection, target: Path, *, replace: bool = False) -> None:
    """Copy what ``source`` shows into ``target``, mode 0600, which appears only once it is complete and sound.

    Raises StoreError: when ``target`` is there already (unless it may be replaced), or the disk is full.
    """
    if target.exists() and not replace:
        raise StoreError(f"{target} is there already: name a file for the backup that is not")
    part = target.with_name(f".{target.name}.part")
    with explained(target):
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            _copy(source, part)
            part.replace(target)
            sync_folder(target.parent)
        finally:
            part.unlink(missing_ok=True)


def copy_store_file(source: Path, target: Path) -> None:
    """The same of a file, whichever process has it open. Raises StoreError when there is none."""
    if not source.exists():
        raise StoreError(f"there is no store at {source}: name the data directory of an engine with --data-dir")
    with explained(source), closing(sqlite3.connect(source, timeout=BUSY_S, isolation_level=None)) as connection:
        copy_store(connection, target)


def _copy(source: sqlite3.Connection, part: Path) -> None:
    with closing(sqlite3.connect(part, isolation_level=None)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # a copy of a WAL store would be more than one file
        problems = copy.execute("PRAGMA quick_check").fetchall()
    if problems != [("ok",)]:
        raise StoreDamaged(f"the copy is not sound ({problems[0][0]}): is the store itself? No backup was made")
