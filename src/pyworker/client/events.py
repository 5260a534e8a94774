"""Server-sent events, as they come. Pure."""

from __future__ import annotations

import json
import re
from codecs import getincrementaldecoder
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["DONE", "Event", "EventReader", "LineReader"]

DONE: Final = "[DONE]"  # what an OpenAI server says last
_LINE_END: Final = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its ``data``, its kind, and the last ``id`` that the server named."""

    data: str
    event: str = "message"
    id: str = ""

    def json(self) -> Any:
        """The data as JSON. Raises ValueError when it is none."""
        return json.loads(self.data)


class EventReader:
    """Events from the pieces of a body, wherever those were cut. Lines end as they may: CR, LF, or both."""

    def __init__(self) -> None:
        self._lines = _Lines()
        self._data: list[str] = []
        self._kind = ""
        self._id = ""

    def feed(self, piece: bytes, *, last: bool = False) -> Iterator[Event]:
        """The events that are complete now; with the ``last`` piece of a whole body, the one that has no end, too."""
        for line in self._lines.feed(piece, last=last):
            if line:
                self._take(line)
            elif self._data:
                yield self._event()
            else:
                self._kind = ""
        if last and self._data:
            yield self._event()

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._kind = value
        elif name == "id" and "\0" not in value:
            self._id = value

    def _event(self) -> Event:
        event = Event("\n".join(self._data), self._kind or "message", self._id)
        self._data, self._kind = [], ""
        return event


class LineReader:
    """The same for a body of lines, each of which is an event's data; empty ones are left out."""

    def __init__(self) -> None:
        self._lines = _Lines()

    def feed(self, piece: bytes, *, last: bool = False) -> Iterator[Event]:
        """The lines that are complete now; with the ``last`` piece the rest, too."""
        return (Event(line) for line in self._lines.feed(piece, last=last) if line.strip())


class _Lines:
    """Lines of UTF-8 from pieces of it; a byte order mark at its beginning is left out."""

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8-sig")("replace")
        self._rest: list[str] = []  # of a line that has no end yet
        self._after_cr = False

    def feed(self, piece: bytes, *, last: bool = False) -> Iterator[str]:
        text = self._decoder.decode(piece, last)
        if text and self._after_cr:
            text, self._after_cr = text.removeprefix("\n"), False
        self._after_cr = text.endswith("\r") or (self._after_cr and not text)
        *complete, rest = _LINE_END.split(text)
        if complete:
            yield "".join((*self._rest, complete[0]))
            self._rest = []
            yield from complete[1:]
        if rest:
            self._rest.append(rest)
        if last and self._rest:
            yield "".join(self._rest)
