"""A payload as a multipart form."""

from __future__ import annotations

import email
from email import policy
from typing import Any

import pytest

from pyworker.worker.model.multipart import encode

Part = tuple[str, str | None, str | None, bytes]


async def received(fields: dict[str, Any]) -> list[Part]:
    """Name, file name, content type and bytes of each part, as another library reads them."""
    content_type, body = await encode(fields)
    message = email.message_from_bytes(b"Content-Type: " + content_type + b"\r\n\r\n" + body, policy=policy.HTTP)
    return [
        (
            str(part.get_param("name", header="content-disposition")),
            part.get_filename(),
            part.get("Content-Type"),
            bytes(part.get_payload(decode=True)),  # pyright: ignore[reportArgumentType]
        )
        for part in message.iter_parts()
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("hello", b"hello"),
        (3, b"3"),
        (0.5, b"0.5"),
        (True, b"true"),
        (False, b"false"),
        ({"a": [1, None]}, b'{"a":[1,null]}'),
        ("grüße", "grüße".encode()),
        ("", b""),
    ],
)
async def test_values_go_as_text(value: Any, text: bytes) -> None:
    ((name, filename, _, data),) = await received({"field": value})
    assert (name, filename, data) == ("field", None, text)


async def test_a_file_keeps_its_name_and_type() -> None:
    parts = await received({"image": ("cat.png", b"\x89PNG\r\n", "image/png")})
    assert parts == [("image", "cat.png", "image/png", b"\x89PNG\r\n")]


async def test_a_list_repeats_the_field_and_a_list_in_it_is_json() -> None:
    parts = await received({"tag": ["a", 2, [1, 2], ("f.txt", b"x", "text/plain")]})
    assert [(name, data) for name, _, _, data in parts] == [
        ("tag", b"a"),
        ("tag", b"2"),
        ("tag", b"[1,2]"),
        ("tag", b"x"),
    ]


async def test_none_is_left_out_in_a_list_too() -> None:
    parts = await received({"a": None, "b": ["x", None], "c": 1})
    assert [(name, data) for name, _, _, data in parts] == [("b", b"x"), ("c", b"1")]


@pytest.mark.parametrize("value", [b"raw", bytearray(b"raw"), memoryview(b"raw"), ["x", b"raw"]])
async def test_bare_bytes_are_refused_with_their_fields_name(value: Any) -> None:
    with pytest.raises(TypeError, match=r"'image'.*\(filename, bytes, content_type\)"):
        await encode({"image": value})
