"""Reads chosen metadata of a GGUF model file, one value after the other, without loading the model.

A GGUF file begins with ``"GGUF" | version u32 | tensors u64 | values u64`` and then the values, each a name, a type
and the bytes of that type; all little-endian. What is not asked for is stepped over.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

__all__ = ["NotAModelFile", "read_metadata"]

_MAGIC: Final = b"GGUF"
_STRING: Final = 8
_ARRAY: Final = 9
_NUMBERS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")


class NotAModelFile(ValueError):
    """The file is not a GGUF model file that can be read here; the message says what is wrong with it."""


def read_metadata(path: Path, names: Collection[str]) -> dict[str, Any]:
    """Those of ``names`` that the file holds. A string comes as bytes, an array as a list or tuple of its values.

    Raises NotAModelFile when the file is cut off or of another kind, OSError when it cannot be read.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _read(content, names)
    except (struct.error, ValueError, KeyError, OverflowError, MemoryError) as error:
        raise NotAModelFile(f"{path} is not a GGUF model file, or is damaged: {error}") from None


def _read(content: mmap.mmap, names: Collection[str]) -> dict[str, Any]:
    if content[:4] != _MAGIC:
        raise ValueError("it does not begin with GGUF")
    wanted = {name.encode() for name in names}
    found: dict[str, Any] = {}
    (values,) = _U64.unpack_from(content, 16)
    at = 24
    for _ in range(values):
        name, at = _string(content, at)
        (kind,) = _U32.unpack_from(content, at)
        value, at = _value(content, at + 4, kind)
        if name in wanted:
            found[name.decode()] = value
        if len(found) == len(wanted):
            break
    return found


def _value(content: mmap.mmap, at: int, kind: int) -> tuple[Any, int]:
    """The value of this type that begins at ``at``, and where it ends."""
    if kind == _STRING:
        return _string(content, at)
    if kind == _ARRAY:
        (item_kind,) = _U32.unpack_from(content, at)
        (count,) = _U64.unpack_from(content, at + 4)
        return _array(content, at + 12, item_kind, count)
    number = struct.Struct("<" + _NUMBERS[kind])
    return number.unpack_from(content, at)[0], at + number.size


def _array(content: mmap.mmap, at: int, item_kind: int, count: int) -> tuple[Any, int]:
    if item_kind == _STRING:
        return _strings(content, at, count)
    if item_kind in _NUMBERS:
        numbers = struct.Struct(f"<{count}{_NUMBERS[item_kind]}")
        return numbers.unpack_from(content, at), at + numbers.size
    items: list[Any] = []
    for _ in range(count):
        item, at = _value(content, at, item_kind)
        items.append(item)
    return items, at


def _strings(content: mmap.mmap, at: int, count: int) -> tuple[list[bytes], int]:
    """One loop without calls of our own: there are 100,000 of them."""
    size_of = _U64.unpack_from
    strings: list[bytes] = []
    for _ in range(count):
        begin = at + 8
        at = begin + size_of(content, at)[0]
        strings.append(content[begin:at])
    if at > len(content):
        raise ValueError("it is cut off")
    return strings, at


def _string(content: mmap.mmap, at: int) -> tuple[bytes, int]:
    (size,) = _U64.unpack_from(content, at)
    begin = at + 8
    end = begin + size
    if end > len(content):
        raise ValueError("it is cut off")
    return content[begin:end], end
