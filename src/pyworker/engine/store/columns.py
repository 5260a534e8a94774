"""A row as SQLite's columns, and back. What is nested is JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from pyworker.engine.core.parameters import EndpointParameters, GroupParameters, Launch
from pyworker.engine.store.rows import AccountKeyRow, EndpointRow, GroupRow, LogLine, WorkerRow
from pyworker.errors import BadRequest, StoreDamaged

__all__ = ["to_columns", "to_row"]

Row = TypeVar("Row", EndpointRow, GroupRow, WorkerRow, AccountKeyRow, LogLine)

_JSON: Final[Mapping[type[Any], Mapping[str, Any]]] = {
    EndpointRow: {"parameters": EndpointParameters},
    GroupRow: {"parameters": GroupParameters, "previous_launch": Launch | None, "extra": dict[str, Any]},
}
_FLAGS: Final[Mapping[type[Any], tuple[str, ...]]] = {WorkerRow: ("was_ready",)}


def to_columns(row: msgspec.Struct) -> dict[str, Any]:
    """Column by name. Raises BadRequest for what would be read back as something else, or not at all."""
    columns: dict[str, Any] = {name: getattr(row, name) for name in row.__struct_fields__}
    nested = {name: _text(name, columns[name], kind) for name, kind in _JSON.get(type(row), {}).items()}
    return columns | nested


def to_row(cls: type[Row], columns: Mapping[str, Any]) -> Row:
    """The row. Raises StoreDamaged naming what cannot be read."""
    try:
        nested = {name: msgspec.json.decode(columns[name], type=kind) for name, kind in _JSON.get(cls, {}).items()}
        flags = {name: bool(columns[name]) for name in _FLAGS.get(cls, ())}
        return msgspec.convert({**columns, **nested, **flags}, cls)
    except (msgspec.DecodeError, KeyError) as error:
        raise StoreDamaged(
            f"{cls.__name__} {columns.get('id')} of the store cannot be read ({error}): was it written by a newer "
            "pyworker? Run that one, or put a backup in its place"
        ) from error


def _text(name: str, value: object, kind: Any) -> str:
    try:
        text = msgspec.json.encode(value)
        same = msgspec.json.decode(text, type=kind) == value
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError) as error:
        raise BadRequest(f"{name} cannot be stored: {error}") from None
    if not same:
        raise BadRequest(f"{name} cannot be stored: it holds something that JSON has no word for")
    return text.decode()
