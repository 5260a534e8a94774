"""The image worker's payload: an image in base64 and numbers within bounds; its workload."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pyworker.errors import JsonDataException
from workers.image.data_types import StylizeData, megapixels, random_image


def png(width: int, height: int) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (width, height)).save(content, format="PNG")
    return content.getvalue()


IMAGE = base64.b64encode(png(64, 32)).decode()


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({}, "image", "missing parameter"),
        ({"image": "!"}, "image", "expected base64"),
        ({"image": "aGFsbG8="}, "image", "expected an image"),
        ({"image": IMAGE, "style_image": "aGFsbG8="}, "style_image", "expected an image"),
        ({"image": IMAGE, "strength": 2}, "strength", "from 0 to 1"),
        ({"image": IMAGE, "strength": "much"}, "strength", "expected number"),
        ({"image": IMAGE, "max_size": 9999}, "max_size", "from 32 to 4096"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(JsonDataException) as caught:
        StylizeData.from_json_msg(fields)
    assert reason in caught.value.message[field]


def test_the_form_has_the_image_as_a_file_and_the_rest_as_text() -> None:
    form = StylizeData.from_json_msg({"image": IMAGE, "style": "3:0.5,12:0.5"}).generate_payload_multipart()
    assert form["image"] == ("image.bin", base64.b64decode(IMAGE), "application/octet-stream")
    assert (form["style"], form["preserve_color"], "style_image" in form) == ("3:0.5,12:0.5", False, False)


def test_test_payloads_differ_and_pass_their_own_checks() -> None:
    first, second = StylizeData.for_test(), StylizeData.for_test()
    assert first.image != second.image
    assert StylizeData.from_json_msg({"image": first.image}).count_workload() == pytest.approx(100 * 0.065536)


@pytest.mark.parametrize(
    ("width", "height", "max_size", "expected"),
    [(1000, 1000, 4096, 1.0), (2000, 1000, 1000, 0.5), (1000, 2000, 1000, 0.5), (64, 64, 4096, 0.004096)],
)
def test_megapixels_are_those_of_the_image_that_is_made(
    width: int, height: int, max_size: int, expected: float
) -> None:
    assert megapixels(png(width, height), max_size) == pytest.approx(expected)


@given(st.integers(32, 4096), st.integers(32, 4096))
def test_a_larger_limit_is_never_less_work(smaller: int, larger: int) -> None:
    smaller, larger = sorted((smaller, larger))
    assert megapixels(SOME, smaller) <= megapixels(SOME, larger)


SOME = random_image(300)
