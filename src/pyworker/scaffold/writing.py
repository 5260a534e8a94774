"""Writes a new worker's folder, and never over anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pyworker.errors import BadRequest

__all__ = ["write_folder"]


def write_folder(folder: Path, files: Mapping[str, str]) -> None:
    """Make the folder and these files in it. Raises BadRequest when it is there or cannot be made."""
    try:
        folder.mkdir(parents=True)
        for path, text in files.items():
            file = folder / path
            file.parent.mkdir(exist_ok=True)
            with file.open("x", encoding="utf-8") as writing:
                writing.write(text)
    except FileExistsError:
        raise BadRequest(
            f"{folder} is there already, and nothing is written over: take another name, or --into"
        ) from None
    except OSError as error:
        raise BadRequest(f"{folder} cannot be made: {error.strerror or error}; say where with --into") from None
