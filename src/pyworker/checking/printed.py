"""What an author's code prints of a client's payload: it stands in the log then, where prompts must not be."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

from pyworker.checking.author import AuthorCode
from pyworker.checking.findings import warning
from pyworker.wire_check import Finding

__all__ = ["PrintedPayloads"]

_SHORTEST: Final = 8  # characters; a shorter text may be printed for another reason


class PrintedPayloads(io.TextIOBase):
    """In the place of standard output. Hears texts of ``payloads``, and tells each line of the author's once."""

    def __init__(self, author: AuthorCode, tell: Callable[[Finding], None], payloads: Mapping[int, Any]) -> None:
        super().__init__()
        self._author = author
        self._tell = tell
        self._payloads = payloads
        self._told: set[str] = set()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str, /) -> int:
        """Hear it."""
        if len(text) >= _SHORTEST and any(part in text for part in _texts([*self._payloads.values()])):
            place = self._author.place_of_caller()
            if place is not None and place not in self._told:
                self._told.add(place)
                what = "it prints what the client sent: the log is no place for prompts"
                self._tell(warning("prompt-printed", place, what, "leave it out; its length or an id says as much"))
        return len(text)


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            if len(value) >= _SHORTEST:
                yield value
        case Mapping():
            yield from _texts([*cast("Mapping[str, Any]", value).values()])
        case list():
            for item in cast("list[Any]", value):
                yield from _texts(item)
        case _:
            yield from ()
