"""A JSON object checked against a class's fields: every field that is missing or mistyped is named at once.

Works for dataclasses and msgspec Structs. What a class expects is looked up once, not for every request.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import msgspec
import msgspec.inspect

from pyworker.errors import JsonDataException

__all__ = ["MISSING_PARAMETER", "read_fields", "read_part"]

MISSING_PARAMETER = "missing parameter"

_EXACT: frozenset[type] = frozenset({str, int, bool, dict, list})
_MSGSPEC_WORDS = re.compile(r"`([^`]*)`")
_JSON_WORDS = {
    "str": "string",
    "int": "integer",
    "bool": "boolean",
    "float": "number",
    "array": "array",
    "null": "null",
}


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    name: str
    key: str  # its name in the JSON
    required: bool
    nullable: bool  # null is passed on as None: the class has no default to use instead
    exact: type | None  # JSON gives this very type: no conversion to do
    convert: Callable[[Any], Any]


def read_fields(message: Mapping[str, Any], cls: type[Any]) -> dict[str, Any]:
    """The keyword arguments for ``cls`` that a decoded JSON object holds.

    ``null`` counts as not given; unknown fields are ignored. Raises JsonDataException
    ``{field: reason}`` with all that is wrong.
    """
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for field in _fields(cls):
        value = message.get(field.key)
        if value is None:
            if field.nullable:
                values[field.name] = None
            elif field.required:
                problems[field.key] = MISSING_PARAMETER
        elif type(value) is field.exact:
            values[field.name] = value
        else:
            try:
                values[field.name] = field.convert(value)
            except msgspec.ValidationError as error:
                problems[field.key] = _plain(str(error))
    if problems:
        raise JsonDataException(problems)
    return values


_Part = TypeVar("_Part")


def read_part(
    message: Mapping[str, Any], name: str, read: Callable[[dict[str, Any]], _Part], problems: dict[str, Any]
) -> _Part | None:
    """An object inside a JSON object, parsed by ``read``; None with what is wrong noted under its name."""
    value = message.get(name)
    if not isinstance(value, dict):
        problems[name] = MISSING_PARAMETER if value is None else "expected object"
        return None
    try:
        return read(cast("dict[str, Any]", value))
    except JsonDataException as error:
        problems[name] = error.message
        return None


@functools.cache
def _fields(cls: type[Any]) -> tuple[_Field, ...]:
    hints = _hints(cls)
    return tuple(_field(name, key, hints.get(name, Any), required) for name, key, required in _names(cls))


def _names(cls: type[Any]) -> list[tuple[str, str, bool]]:
    """Name, name in the JSON, and whether there is no default."""
    if issubclass(cls, msgspec.Struct):
        return [(field.name, field.encode_name, field.required) for field in msgspec.structs.fields(cls)]
    missing = dataclasses.MISSING
    return [
        (field.name, field.name, field.default is missing and field.default_factory is missing)
        for field in dataclasses.fields(cls)
        if field.init
    ]


def _hints(cls: type[Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except Exception:  # noqa: BLE001 - an annotation that cannot be evaluated here is not checked
        return {}


def _field(name: str, key: str, hint: Any, required: bool) -> _Field:
    optional = type(None) in typing.get_args(hint)
    exact = hint if isinstance(hint, type) and hint in _EXACT else None
    return _Field(name, key, required and not optional, required and optional, exact, _converter(hint))


def _converter(hint: Any) -> Callable[[Any], Any]:
    """What turns a JSON value into ``hint``; a type that JSON does not have is taken as it comes."""
    try:
        info = msgspec.inspect.type_info(hint)
    except TypeError:
        return lambda value: value
    kinds = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    if any(isinstance(kind, msgspec.inspect.CustomType) for kind in kinds):
        return lambda value: value
    return functools.partial(msgspec.convert, type=hint)


def _plain(error: str) -> str:
    """msgspec's message without its marks: "expected integer, got string"."""
    words = _MSGSPEC_WORDS.sub(_json_words, error)
    return words[:1].lower() + words[1:]


def _json_words(match: re.Match[str]) -> str:
    return " | ".join(_JSON_WORDS.get(word, word) for word in match.group(1).split(" | "))
