"""A payload's ``generate_payload_multipart()`` dict as a multipart form.

A ``(filename, bytes, content_type)`` tuple is a file part; a list repeats the field; None is left out; a dict or nested
list goes as JSON text, a bool as ``true`` or ``false``. Bare bytes are a TypeError: a file needs a name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from aiohttp import FormData

from pyworker.api import ApiPayload
from pyworker.wire import dump

__all__ = ["encode", "encoded_payload"]


async def encoded_payload(payload: ApiPayload, as_json: Callable[[Any], dict[str, Any]]) -> tuple[bytes, bytes]:
    """The content type and the body of a payload: a form when its class makes one of it, else JSON."""
    make_form = getattr(type(payload), "generate_payload_multipart", None)
    fields = make_form(payload) if make_form is not None else None
    return await encode(fields) if fields is not None else (b"application/json", dump(as_json(payload)))


async def encode(fields: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The content type, with its boundary, and the body. Raises TypeError naming a field that cannot be sent."""
    form = _form(fields)()
    return form.headers["Content-Type"].encode(), await form.as_bytes()


def _form(fields: Mapping[str, Any]) -> FormData:
    data = FormData(default_to_multipart=True, quote_fields=False)  # a file name goes as it is, as browsers send it
    for name, value in fields.items():
        values = cast("list[Any]", value) if isinstance(value, list) else [value]
        for one in values:
            _add(data, name, one)
    return data


def _add(data: FormData, name: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"multipart field {name!r} is bare bytes; give (filename, bytes, content_type)")
    if isinstance(value, tuple):
        filename, content, content_type = cast("tuple[str, bytes, str]", value)
        data.add_field(name, content, filename=filename, content_type=content_type)
        return
    data.add_field(name, _text(value))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return dump(value).decode()
    return str(value)
