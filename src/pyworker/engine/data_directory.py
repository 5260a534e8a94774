"""The folder that an engine lives in. A backup of it is such a folder itself.

engine.db      the store (engine.db-wal and engine.db-shm belong to it while it is in use)
engine.lock    held by the engine that runs
secrets/       its secrets
"""

from __future__ import annotations

import datetime
import shutil
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyworker.engine.identity import Identity, has_identity
from pyworker.engine.private_files import make_private_folder, read_private, sync_folder, write_private
from pyworker.engine.store.backup import copy_store_file
from pyworker.engine.store.failures import explained
from pyworker.engine.store.lock import locked
from pyworker.engine.store.store import Store
from pyworker.errors import StoreError

__all__ = ["DataDirectory", "back_up", "data_directory"]


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

    The store first: secrets that were made meanwhile do no harm, missing ones would. Raises StoreError.
    """
    target = target.absolute()
    if target.exists():
        raise StoreError(f"{target} is there already: name a folder for the backup that is not")
    with explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))  # of mode 0700
        try:
            copy_store_file(folder / "engine.db", part / "engine.db")
            make_private_folder(part / "secrets")
            for path in sorted((folder / "secrets").glob("[!.]*")):
                write_private(part / "secrets" / path.name, read_private(path))
            part.rename(target)
            sync_folder(target.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _identity(folder: Path, store: Store, now: datetime.datetime) -> Identity:
    """Secrets are made once. To make them again unasked would cut off every worker and every key without a word."""
    if store.has_secrets and not has_identity(folder):
        raise StoreError(f"{folder} is missing or incomplete: put it back from a backup, together with the store")
    identity = Identity.open(folder, store.engine_id, now)
    if not store.has_secrets:
        store.note_secrets()
    return identity
