"""What the JSON route takes: an image as base64, and what to do with it; the model gets it as a form."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import functools
import io
import random
from typing import Any, Final, Self

from PIL import Image, UnidentifiedImageError

from lib.data_types import ApiPayload, JsonDataException

__all__ = ["StylizeData", "megapixels", "random_image"]

STYLES: Final = 26
MAX_SIDE_PX: Final = 4096
WORKLOAD_OF_A_MEGAPIXEL: Final = 100.0
TEST_SIDE_PX: Final = 256


@dataclasses.dataclass
class StylizeData(ApiPayload):
    """An image (PNG, JPEG and what else Pillow reads) in base64, and how it shall look.

    ``style``: one of 26 (0 to 25), or a mix like ``3:0.5,12:0.5``. ``style_image``: any picture instead, in base64.
    ``strength``: 0 to 1. ``max_size``: a larger image is made smaller until its longer side has so many pixels.
    """

    image: str
    style: int | str = 0
    style_image: str | None = None
    strength: float = 1.0
    preserve_color: bool = False
    max_size: int = 1024

    @classmethod
    def for_test(cls) -> Self:
        """What benchmark and load test send: noise, another each time, in one of the styles."""
        image = base64.b64encode(random_image(TEST_SIDE_PX)).decode()
        return cls(image=image, style=random.randrange(STYLES))  # noqa: S311 - no secrets

    @classmethod
    def from_json_msg(cls, json_msg: dict[str, Any]) -> Self:
        """Besides the types: that there is an image, and that the numbers are within bounds."""
        data = super().from_json_msg(json_msg)
        problems = {name: reason for name in ("image", "style_image") if (reason := data.wrong_with(name))}
        if not 0 <= data.strength <= 1:
            problems["strength"] = "must be from 0 to 1"
        if not 32 <= data.max_size <= MAX_SIDE_PX:
            problems["max_size"] = f"must be from 32 to {MAX_SIDE_PX}"
        if problems:
            raise JsonDataException(problems)
        return data

    def wrong_with(self, name: str) -> str:
        """Why a field is no image; "" when it is one or may be left out and is."""
        if name == "style_image" and self.style_image is None:
            return ""
        try:
            megapixels(self.files[name], self.max_size)
        except binascii.Error:
            return "expected base64"
        except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
            return "expected an image: PNG, JPEG, WebP, ..."
        return ""

    @functools.cached_property
    def files(self) -> dict[str, bytes]:
        """The images, decoded. Raises binascii.Error."""
        fields = {"image": self.image, "style_image": self.style_image}
        return {name: base64.b64decode(text, validate=True) for name, text in fields.items() if text is not None}

    def generate_payload_multipart(self) -> dict[str, Any]:
        """The form that the model server takes."""
        return {
            **{name: (f"{name}.bin", content, "application/octet-stream") for name, content in self.files.items()},
            "style": self.style,
            "strength": self.strength,
            "preserve_color": self.preserve_color,
            "max_size": self.max_size,
        }

    def count_workload(self) -> float:
        """100 for a megapixel of the image that is made."""
        return WORKLOAD_OF_A_MEGAPIXEL * megapixels(self.files["image"], self.max_size)


def megapixels(image: bytes, max_size: int) -> float:
    """How large an image is once it is made to fit ``max_size``; only its header is read.

    Raises UnidentifiedImageError or another OSError when it is none, DecompressionBombError when it is too large.
    """
    with Image.open(io.BytesIO(image)) as opened:
        width, height = opened.size
    scale = min(1.0, max_size / max(width, height, 1))
    return width * height * scale**2 / 1e6


def random_image(side_px: int) -> bytes:
    """A square of noise, as PNG."""
    content = io.BytesIO()
    noise = random.randbytes(3 * side_px * side_px)  # noqa: S311 - no secrets
    Image.frombytes("RGB", (side_px, side_px), noise).save(content, format="PNG", compress_level=1)
    return content.getvalue()
