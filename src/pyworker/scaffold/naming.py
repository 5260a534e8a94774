"""What a worker may be called. Pure."""

from __future__ import annotations

import keyword
import re

from pyworker.errors import BadRequest

__all__ = ["require_name", "suggestion"]


def require_name(name: str) -> None:
    """Raises BadRequest saying what it could be called instead."""
    if not name.isascii() or not name.isidentifier() or keyword.iskeyword(name):
        raise BadRequest(f"{name!r} cannot be imported by Python: call it {suggestion(name)!r}, say")


def suggestion(name: str) -> str:
    """The nearest name that Python can import."""
    words = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if not words:
        return "my_worker"
    return words if words[0].isalpha() and not keyword.iskeyword(words) else f"worker_{words}"
