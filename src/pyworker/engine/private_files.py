"""Files that only the engine's user may read: written whole or not at all, refused when others may read them."""

from __future__ import annotations

import os
from pathlib import Path

from pyworker.engine.store.failures import explained
from pyworker.errors import SecretsExposed

__all__ = ["make_private_folder", "read_private", "require_private", "sync_folder", "write_private"]


def make_private_folder(path: Path) -> None:
    """The folder, mode 0700, with those above it. Raises SecretsExposed when it is there and open to others."""
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        require_private(path)


def require_private(path: Path) -> None:
    """Raises SecretsExposed when anybody but its owner may read, write or enter it."""
    with explained(path):
        mode = path.stat().st_mode
        if mode & 0o077:
            wanted = "700" if path.is_dir() else "600"
            raise SecretsExposed(f"{path} is open to others (mode {mode & 0o777:o}): chmod {wanted} {path}")


def read_private(path: Path) -> bytes:
    """What the file holds. Raises SecretsExposed when others may read it, StoreError when it cannot be read."""
    require_private(path)
    with explained(path):
        return path.read_bytes()


def write_private(path: Path, content: bytes) -> None:
    """Write the file, mode 0600: after a crash there is the whole of it or what was there before."""
    part = path.with_name(f".{path.name}.part")
    with explained(path):
        part.unlink(missing_ok=True)
        opened = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(opened, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(opened)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder as lasting as the files."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
