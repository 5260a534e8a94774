"""A disk so small that a test can fill it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["a_small_disk", "fill"]


@contextmanager
def a_small_disk(folder: Path, size: str = "1m") -> Iterator[Path]:
    """A disk of this size within ``folder``. Skips the test where nobody may mount one."""
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(  # noqa: S603 - our own
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)],  # noqa: S607 - wherever it is
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)  # noqa: S603, S607 - our own


def fill(disk: Path) -> Path:
    """A file that leaves no room."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            return ballast
    raise AssertionError("the disk has no end")
