"""The folder that an engine lives in. A backup of it is such a folder itself.

engine.db      the store (engine.db-wal and engine.db-shm belong to it while it is in use)
engine.lock    held by the engine that runs
secrets/       its secrets
"""

from __future__ import annotations

import datetime
import errno
import shutil
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyworker.engine.identity import Identity, has_identity
from pyworker.engine.private_files import make_private_folder, read_private, sync_folder, write_private
from pyworker.engine.store.backup import copy_store_file
from pyworker.engine.store.failures import explained
from pyworker.engine.store.lock import locked
from pyworker.engine.store.store import Store
from pyworker.errors import BadRequest, StoreError

__all__ = ["DataDirectory", "back_up", "data_directory"]

_NO_PATH: Final = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP}


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """What an engine keeps, open."""

    folder: Path
    store: Store
    identity: Identity


@contextmanager
def data_directory(folder: Path, now: datetime.datetime) -> Generator[DataDirectory]:
    """The data directory, made when there is none; no other engine can have it meanwhile.

    Blocks, the first time for half a second. Raises StoreError: StoreInUse, StoreTooNew, SecretsExposed and others.
    """
    folder = folder.absolute()
    with explained(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(folder / "engine.lock"), closing(Store.open(folder / "engine.db")) as store:
        yield DataDirectory(folder, store, _identity(folder / "secrets", store, now))


def back_up(folder: Path, target: Path) -> None:
    """Copy a data directory, in use or not, to ``target``, which must not exist and is there only once it is complete.

    The store first: secrets that were made meanwhile do no harm, missing ones would. Raises BadRequest for a target
    that cannot be one, StoreError.
    """
    target = target.absolute()
    with explained(target):
        _require_new(target, folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".backup-", dir=target.parent))  # of mode 0700
        try:
            copy_store_file(folder / "engine.db", part / "engine.db")
            make_private_folder(part / "secrets")
            for path in sorted((folder / "secrets").glob("[!.]*")):
                if path.is_file():
                    write_private(part / "secrets" / path.name, read_private(path))
            part.rename(target)
            sync_folder(target.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _require_new(target: Path, folder: Path) -> None:
    try:
        target.lstat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_PATH:
            raise
        raise BadRequest(f"path: {str(target)[:100]!r} cannot be a folder's ({error})") from None
    else:
        raise BadRequest(f"path: {target} is there already: name a folder for the backup that is not")
    if target.resolve().is_relative_to(folder.resolve()):
        raise BadRequest(f"path: {target} is inside the engine's data directory: name a folder outside of it")


def _identity(folder: Path, store: Store, now: datetime.datetime) -> Identity:
    """Secrets are made once. To make them again unasked would cut off every worker and every key without a word."""
    if store.has_secrets and not has_identity(folder):
        raise StoreError(f"{folder} is missing or incomplete: put it back from a backup, together with the store")
    identity = Identity.open(folder, store.engine_id, now)
    if not store.has_secrets:
        store.note_secrets()
    return identity
