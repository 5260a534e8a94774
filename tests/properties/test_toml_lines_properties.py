"""Lines of a TOML text: each key is where it was written, whatever stands between."""

from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworker.engine.core.deployment.toml_lines import TomlLines

VALUES = st.sampled_from(
    [
        "1",
        '"a # [b]"',
        "'c = ]'",
        '"""\n[no]\nb = "1" \\"""\n"""""',
        "'''\n[no]\n'''",
        "[1, # ]\n  2]",
        '{ a = "}", b = [1] }',
        "[[1], ['[']]",
        "1979-05-27 07:32:00",
        '"\\" \\\\"',
    ]
)
BETWEEN = st.sampled_from(["", "\n", "# a [comment] = 1\n", "  ", "\t\n\n"])
NEWLINE = st.sampled_from(["\n", " # end ]\n", "\r\n"])
KEYS = st.text(min_size=1, max_size=5).filter(lambda text: "\x7f" not in text)


def _written(key: str) -> str:
    """A key as TOML: bare where it can be."""
    is_bare = key.isascii() and all(char.isalnum() or char in "-_" for char in key)
    return key if is_bare else json.dumps(key, ensure_ascii=False)


@given(st.lists(st.tuples(BETWEEN, KEYS, VALUES, NEWLINE), unique_by=lambda part: part[1], max_size=8), st.booleans())
def test_each_key_is_on_the_line_where_it_was_written(parts: list[tuple[str, str, str, str]], in_tables: bool) -> None:
    text, expected = "", {}
    for number, (between, key, value, newline) in enumerate(parts):
        text += between
        place: tuple[str | int, ...] = (key,)
        if in_tables:
            text += f"[[ t.'u' ]]{newline}"
            place = ("t", "u", number, key)
        expected[place] = text.count("\n") + 1
        text += f"{_written(key)} = {value}{newline}"
    tomllib.loads(text)
    lines = TomlLines(text)
    assert {place: lines.line_of(place) for place in expected} == expected


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ((), 1),
        (("nowhere",), 1),
        (("g", 0), 2),
        (("g", 0, "m"), 3),
        (("g", 0, "m", "c"), 4),
        (("g", 0, "m", "c", 2), 4),
        (("g", 0, "missing"), 2),
        (("g", 1), 6),
        (("g", 1, "m", "i"), 7),
        (("g", 1, "m", "i", "x"), 7),
    ],
)
def test_what_has_no_line_of_its_own_has_that_of_what_it_stands_in(place: tuple[str | int, ...], line: int) -> None:
    text = "# two groups\n[[g]]\n[g.m]\nc = [1,\n2]\n[[g]]\nm.i = {x = 1}\n"
    assert TomlLines(text).line_of(place) == line
