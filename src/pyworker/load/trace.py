"""Recorded arrivals, to be sent again: a CSV as the public Azure traces of LLM inference are, or JSON lines. Pure.

The CSV has the columns ``TIMESTAMP,ContextTokens,GeneratedTokens`` (github.com/Azure/AzurePublicDataset). Each JSON
line is an object with ``arrival`` (s), ``input`` and ``output`` (tokens), or with the names of the CSV.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, cast

from pyworker.errors import BadRequest

__all__ = ["Arrival", "Trace", "cut", "read_trace"]

SHOWN_PROBLEMS: Final = 5
_COLUMNS: Final = ("arrival", "input", "output")
_NAMES: Final = {
    "arrival": ("arrival", "timestamp", "arrival_s"),
    "input": ("input", "contexttokens", "input_tokens"),
    "output": ("output", "generatedtokens", "output_tokens"),
}


class Arrival(NamedTuple):
    """A request: when it is due (s from the beginning), and its size in tokens."""

    due_s: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Trace:
    """Arrivals in order, the first at 0 s; and what is wrong with the lines that were left out."""

    arrivals: Sequence[Arrival]
    problems: Sequence[str] = ()


def read_trace(lines: Iterable[str], name: str, *, skip_bad: bool = False) -> Trace:
    """Read a trace; ``name`` is for messages.

    Raises BadRequest with the number of each line that is bad and why, unless these are to be skipped; and when there
    is nothing in it.
    """
    found: list[Arrival] = []
    problems: list[str] = []
    for number, read in _rows(iter(lines), name):
        try:
            found.append(read())
        except ValueError as error:
            problems.append(f"{name}, line {number}: {error}")
    if problems and not skip_bad:
        more = len(problems) - SHOWN_PROBLEMS
        told = [*problems[:SHOWN_PROBLEMS], *([f"and {more} more"] if more > 0 else [])]
        raise BadRequest("\n".join([*told, "mend them, or leave them out with --skip-bad-lines"]))
    if not found:
        raise BadRequest(f"{name} holds no arrivals; it has lines of {', '.join(_COLUMNS)}")
    found.sort()
    first_s = found[0].due_s
    return Trace([arrival._replace(due_s=arrival.due_s - first_s) for arrival in found], problems)


def cut(
    arrivals: Iterable[Arrival], *, speed: float = 1.0, from_s: float = 0.0, until_s: float | None = None
) -> list[Arrival]:
    """The arrivals from one moment of the trace to another, ``speed`` times as fast, the first moment being 0 s."""
    if not speed > 0:
        raise BadRequest("the speed must be above 0: 2 is twice as fast")
    return [
        arrival._replace(due_s=(arrival.due_s - from_s) / speed)
        for arrival in arrivals
        if from_s <= arrival.due_s and (until_s is None or arrival.due_s < until_s)
    ]


def _rows(lines: Iterator[str], name: str) -> Iterator[tuple[int, Callable[[], Arrival]]]:
    """Line numbers, and what reads each."""
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith("{"):
        for number, line in enumerate([first, *lines], 1):
            if line.strip():
                yield number, lambda line=line: _of_json(line)
        return
    head = [part.strip().lower() for part in _cells(first.lstrip("\ufeff"))]
    at = {column: next((head.index(one) for one in names if one in head), -1) for column, names in _NAMES.items()}
    if -1 in at.values():
        raise BadRequest(
            f"{name} begins with {first.strip()[:80]!r}; a trace is a CSV with the columns "
            "TIMESTAMP,ContextTokens,GeneratedTokens, or has JSON lines with arrival, input and output"
        )
    for number, line in enumerate(lines, 2):
        if line.strip():
            yield number, lambda line=line: _of_csv(_cells(line), at)


def _cells(line: str) -> list[str]:
    return next(csv.reader([line]), list[str]())


def _of_csv(cells: Sequence[str], at: dict[str, int]) -> Arrival:
    if len(cells) <= max(at.values()):
        raise ValueError(f"it has {len(cells)} of {max(at.values()) + 1} columns")
    return _arrival({column: cells[index].strip() for column, index in at.items()})


def _of_json(line: str) -> Arrival:
    try:
        message: Any = json.loads(line)
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from None
    if not isinstance(message, dict):
        raise ValueError("it is no JSON object")
    given = {str(name).lower(): value for name, value in cast("dict[Any, Any]", message).items()}
    return _arrival(
        {column: next((given[one] for one in names if one in given), None) for column, names in _NAMES.items()}
    )


def _arrival(given: dict[str, Any]) -> Arrival:
    return Arrival(_moment(given["arrival"]), _tokens("input", given["input"]), _tokens("output", given["output"]))


def _moment(given: Any) -> float:
    """Seconds, or a date and time."""
    try:
        moment_s = float(given)
    except (TypeError, ValueError):
        moment_s = _date_s(given)
    if not abs(moment_s) < 1e15:
        raise ValueError(f"its time is {str(given)[:40]!r}")
    return moment_s


def _date_s(given: Any) -> float:
    text = str(given)
    try:
        # Azure's have seven digits of a second; a microsecond is enough
        head, dot, rest = text.partition(".")
        fraction = rest[:6] if rest.isdigit() else rest
        return (datetime.fromisoformat(head + dot + fraction) - datetime(1970, 1, 1)).total_seconds()
    except (TypeError, ValueError):
        raise ValueError(f"its time is {text[:40]!r}; give seconds, or 2023-11-16 18:17:03.97") from None


def _tokens(column: str, given: Any) -> int:
    try:
        tokens = int(given)
    except (TypeError, ValueError):
        tokens = -1
    if tokens < 0:
        raise ValueError(f"its {column} is {str(given)[:40]!r}; give a number of tokens")
    return tokens
