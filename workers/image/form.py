"""The form that the image model takes."""

from __future__ import annotations

import dataclasses
import math

from aiohttp import BodyPartReader, web

__all__ = ["BadForm", "Form", "read_form"]

_TRUE, _FALSE = {"1", "true", "yes"}, {"0", "false", "no", ""}


class BadForm(Exception):
    """What is wrong with a form, and with which of its fields."""


@dataclasses.dataclass
class Form:
    """Its fields; ``image`` and ``style_image`` are the files' bytes, b"" where there is none."""

    image: bytes = b""
    style: str = "0"
    style_image: bytes = b""
    strength: float = 1.0
    preserve_color: bool = False
    max_size: int = 1024


async def read_form(request: web.Request) -> Form:
    """Raises BadForm naming the field. Fields that are not known are ignored."""
    if not request.content_type.startswith("multipart/"):
        raise BadForm("expected multipart/form-data with a file named image")
    form = Form()
    try:
        async for part in await request.multipart():
            if isinstance(part, BodyPartReader) and part.name in _READERS:
                setattr(form, part.name, _READERS[part.name](part.name, bytes(await part.read())))
    except (ValueError, RuntimeError) as error:  # what aiohttp raises for a form that is none
        raise BadForm(f"the form cannot be read: {error}") from None
    if not form.image:
        raise BadForm("image is missing: send it as a file")
    return form


def _bytes(_: str, content: bytes) -> bytes:
    return content


def _text(_: str, content: bytes) -> str:
    return content.decode(errors="replace").strip()


def _number(name: str, content: bytes) -> float:
    try:
        number = float(_text(name, content))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadForm(f"{name} is {_text(name, content)!r}: expected a number")
    return number


def _side(name: str, content: bytes) -> int:
    side_px = int(_number(name, content))
    if not 32 <= side_px <= 4096:
        raise BadForm(f"{name} must be from 32 to 4096")
    return side_px


def _bool(name: str, content: bytes) -> bool:
    text = _text(name, content).lower()
    if text not in _TRUE | _FALSE:
        raise BadForm(f"{name} is {text!r}: expected true or false")
    return text in _TRUE


_READERS = {
    "image": _bytes,
    "style": _text,
    "style_image": _bytes,
    "strength": _number,
    "preserve_color": _bool,
    "max_size": _side,
}
