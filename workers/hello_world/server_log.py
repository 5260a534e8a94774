"""The model server's log: one JSON object a line, and whatever llama.cpp says between them. Never a prompt."""

from __future__ import annotations

import datetime
import json
import os
import sys
from pathlib import Path
from typing import TextIO

__all__ = ["ServerLog"]


class ServerLog:
    """``{"timestamp": ..., "level": ..., "message": ..., ...}``, each line out at once.

    With a file, the file is begun anew and stderr goes there too, llama.cpp's included, so that the terminal shows
    only what ``tell`` says. Without one, lines go to stdout. Raises OSError when the file cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._terminal: TextIO | None = None
        self._lines: TextIO = sys.stdout
        if path is not None:
            # appending, so that lines follow a file that was emptied while open (copytruncate)
            number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            self._terminal = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1)
            os.dup2(number, sys.stderr.fileno())
            self._lines = os.fdopen(number, "w", buffering=1, encoding="utf-8")

    def info(self, message: str, **fields: object) -> None:
        """Something happened."""
        self._write("INFO", message, fields)

    def error(self, message: str, **fields: object) -> None:
        """Something failed."""
        self._write("ERROR", message, fields)

    def tell(self, text: str) -> None:
        """Say to the terminal what the person who started this needs, when the log is not there already."""
        if self._terminal is not None:
            print(text, file=self._terminal, flush=True)

    def _write(self, level: str, message: str, fields: dict[str, object]) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"timestamp": now, "level": level, "message": message, **fields}, separators=(",", ":"))
        print(line, file=self._lines, flush=True)
