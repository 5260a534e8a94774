"""How answers are shown: tables on a terminal, aligned text elsewhere, JSON when asked for."""

# ruff: noqa: PLC0415
from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import typer

__all__ = ["cell", "moment", "printable", "say_json", "show_fields", "show_lines", "show_table"]

Cell = str | float | None


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, empty: str) -> None:
    """A table; ``empty`` instead when it has no rows."""
    texts = [[cell(value) for value in row] for row in rows]
    numeric = [index for index in range(len(columns)) if _are_numbers([row[index] for row in texts])]
    if not texts:
        typer.echo(empty)
    elif sys.stdout.isatty():
        _show_rich(columns, texts, numeric)
    else:
        for line in _aligned([[name.upper() for name in columns], *texts], numeric):
            typer.echo(line)


def show_fields(fields: Mapping[str, Cell]) -> None:
    """A name and its value a line."""
    width = max(len(name) for name in fields)
    for name, value in fields.items():
        typer.echo(f"{name.ljust(width)}  {cell(value)}")


def show_lines(lines: Iterable[str]) -> None:
    """A log's lines."""
    for line in lines:
        typer.echo(printable(line))


def say_json(message: Any) -> None:
    """One JSON value; a struct by its names on the wire."""
    import msgspec

    typer.echo(json.dumps(msgspec.to_builtins(message), ensure_ascii=False))


def cell(value: Cell) -> str:
    """A value in a table: a number to three digits, one line of text, "-" for nothing."""
    if value is None or value == "":
        return "-"
    if isinstance(value, str):
        return printable(" ".join(value.split()))
    return str(value) if isinstance(value, int) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def moment(epoch_s: float | None) -> str | None:
    """A time as people read it, in UTC; None for 0 and None, which are "not yet"."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if epoch_s else None


def printable(text: str) -> str:
    """Without what a terminal would take for commands: a log may hold anything."""
    return "".join(char if char.isprintable() or char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def _are_numbers(texts: Sequence[str]) -> bool:
    """Whether there are any, and nothing else but "-"."""
    given = [text for text in texts if text != "-"]
    return bool(given) and all(re.fullmatch(r"-?[\d.]+(e[+-]\d+)?", text) for text in given)


def _aligned(rows: Sequence[Sequence[str]], numeric: Sequence[int]) -> Iterable[str]:
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    for row in rows:
        padded = [
            text.rjust(width) if index in numeric else text.ljust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(padded).rstrip()


def _show_rich(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index in numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False, emoji=False).print(table)
