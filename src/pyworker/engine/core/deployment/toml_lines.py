"""On which line of a TOML text a table or a key stands: ``tomllib`` does not say.

Keys inside an inline table, and elements of an array, have no line of their own: theirs is that of what they stand in.
Pure.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Final, cast

__all__ = ["Place", "TomlLines"]

Place = tuple[str | int, ...]  # keys from the top, and numbers in arrays of tables

_KEY: Final = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_DOTTED: Final = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_SPACE: Final = re.compile(r"(?:\s|#[^\n]*)*")
_HEADER: Final = re.compile(rf"(\[\[?)[ \t]*({_DOTTED})[ \t]*\]\]?[^\n]*")
_STATEMENT: Final = re.compile(rf"({_DOTTED})[ \t]*=")
_PART_OF_VALUE: Final = re.compile(
    r'''"""(?:[^\\]|\\.)*?"""(?:"{0,2})|\'\'\'.*?\'\'\'(?:'{0,2})|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\#[^\n]*|.''', re.DOTALL
)


class TomlLines:
    """The lines of a text that ``tomllib`` has taken."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Place, int] = {}
        self._counts: dict[Place, int] = {}  # tables of each array of tables so far
        table: Place = ()
        for line, bracket, dotted in _statements(text):
            keys = _keys(dotted)
            if bracket:
                table = self._open(keys, is_array=bracket == "[[")
                for depth in range(1, len(table) + 1):  # an array, and what only stands in longer names, begin here too
                    self._lines.setdefault(table[:depth], line)
            else:
                for depth in range(1, len(keys) + 1):
                    self._lines.setdefault((*table, *keys[:depth]), line)

    def line_of(self, place: Place) -> int:
        """The line of a table or key, or of the nearest around it; 1 where there is none."""
        for depth in range(len(place), 0, -1):
            if place[:depth] in self._lines:
                return self._lines[place[:depth]]
        return 1

    def _open(self, keys: list[str], *, is_array: bool) -> Place:
        """Where the statements after a header belong: in arrays of tables, to the newest."""
        place: Place = ()
        for key in keys[:-1]:
            place = self._newest((*place, key))
        place = (*place, keys[-1])
        if is_array:
            self._counts[place] = self._counts.get(place, 0) + 1
        return self._newest(place)

    def _newest(self, place: Place) -> Place:
        return (*place, self._counts[place] - 1) if place in self._counts else place


def _statements(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, opening brackets ("" for a key), and dotted key of each header and each assignment."""
    at = _end(_SPACE, text, 0)
    while at < len(text):
        line = text.count("\n", 0, at) + 1
        if header := _HEADER.match(text, at):
            yield line, header[1], header[2]
            at = header.end()
        elif statement := _STATEMENT.match(text, at):
            yield line, "", statement[1]
            at = _end_of_value(text, statement.end())
        else:
            return
        at = _end(_SPACE, text, at)


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _end_of_value(text: str, at: int) -> int:
    """Where the line ends, once every bracket is closed."""
    depth = 0
    for part in _PART_OF_VALUE.finditer(text, at):
        depth += (part[0] in "[{") - (part[0] in "]}")
        if part[0] == "\n" and depth <= 0:
            return part.end()
    return len(text)


def _keys(dotted: str) -> list[str]:
    return [_plain(key) for key in re.findall(_KEY, dotted)]


def _plain(key: str) -> str:
    return cast("str", tomllib.loads(f"key = {key}")["key"]) if key[0] in "\"'" else key
