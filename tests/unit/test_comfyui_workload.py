"""What an image is worth, and what is read out of a workflow."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.comfyui.templates import TEMPLATES, Asked
from workers.comfyui.workflow import fill_random, picture_of, wrong_with
from workers.comfyui.workload import Picture, workload

FLUX_S = 23.0

sides = st.integers(1, 16_384)
pictures = st.builds(Picture, sides, sides, st.integers(1, 10_000), st.integers(1, 64))


# --- workload -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "expected"), [("flux", 4600), ("sd3", 1200), ("sd15", 600)])
def test_the_standard_picture_is_two_hundred_for_each_second_of_the_model(model: str, expected: float) -> None:
    assert workload(Picture(1024, 1024, 28), TEMPLATES[model].standard_s) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Picture(512, 512, 28), 4600 * 260 / 785),  # one tile instead of four
        (Picture(513, 512, 28), 4600 * 435 / 785),  # a tile that is begun is a tile
        (Picture(1024, 1024, 1), 4600 * 7.18 / 23.65),
        (Picture(1024, 1024, 50), 4600 * 37.07 / 23.65),
        (Picture(1024, 1024, 28, count=3), 3 * 4600),
    ],
)
def test_tiles_and_steps_count_as_the_formula_says(picture: Picture, expected: float) -> None:
    assert workload(picture, FLUX_S) == pytest.approx(expected)


@given(pictures, pictures)
def test_more_of_anything_is_never_less_work(one: Picture, other: Picture) -> None:
    smaller, larger = (
        Picture(*(pick(a, b) for a, b in zip(fields(one), fields(other), strict=True))) for pick in (min, max)
    )
    assert 0 < workload(smaller, FLUX_S) <= workload(larger, FLUX_S) < float("inf")


def fields(picture: Picture) -> tuple[int, int, int, int]:
    return picture.width, picture.height, picture.steps, picture.count


# --- the default workflows ------------------------------------------------------------------------

ASKED = Asked("a lighthouse", "rain", Picture(768, 512, 12), seed=7)


@pytest.mark.parametrize("model", TEMPLATES)
def test_a_default_workflow_has_what_was_asked_and_its_links_lead_somewhere(model: str) -> None:
    workflow = TEMPLATES[model].build(ASKED, "weights.safetensors")
    assert wrong_with(workflow) == ""
    assert picture_of(workflow) == ASKED.picture
    inputs = [value for node in workflow.values() for value in node["inputs"].values()]
    assert {"a lighthouse", 7, "weights.safetensors"} <= {value for value in inputs if not isinstance(value, list)}
    links = [value for value in inputs if isinstance(value, list)]
    assert len(links) > 5
    assert {link[0] for link in links} <= workflow.keys()
    # everything is used by something, but for what saves the picture
    assert workflow.keys() - {link[0] for link in links} == {"saved"}


@pytest.mark.parametrize("model", ["sd3", "sd15"])
def test_what_knows_negative_prompts_gets_one(model: str) -> None:
    workflow = TEMPLATES[model].build(ASKED, "weights.safetensors")
    assert workflow["negative"]["inputs"]["text"] == "rain"


# --- workflows of clients -------------------------------------------------------------------------


def node(**inputs: Any) -> dict[str, Any]:
    return {"class_type": "Some", "inputs": inputs}


@pytest.mark.parametrize(
    ("workflow", "picture"),
    [
        ({"1": node(width=512, height=768, batch_size=2), "2": node(steps=10), "3": node(steps=5)}, (512, 768, 15, 2)),
        ({"1": node(width=64, height=64), "2": node(width=2048, height=512)}, (2048, 512, 28, 1)),
        ({"1": node(width=["2", 0], height=64, steps="many")}, (1024, 1024, 28, 1)),
        ({"1": node(width=True, height=-5, steps=0)}, (1024, 1024, 28, 1)),
        ({"1": node(width=10**30, height=10**30, steps=10**30, batch_size=10**30)}, (16_384, 16_384, 10_000, 4_096)),
    ],
)
def test_a_workflows_picture_is_read_out_of_its_nodes(workflow: Any, picture: tuple[int, int, int, int]) -> None:
    assert fields(picture_of(workflow)) == picture


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4), lambda inner: (
    st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["width", "steps", "class_type", "inputs"]), inner)
), max_leaves=8)  # fmt: skip


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=4))
def test_whatever_a_client_sends_is_either_told_or_measured(workflow: dict[str, Any]) -> None:
    if not wrong_with(workflow):
        assert 0 < workload(picture_of(workflow), FLUX_S) < float("inf")


@pytest.mark.parametrize(
    ("workflow", "reason"),
    [
        ({}, "from 1 to 2000 nodes"),
        ({"nodes": [], "links": []}, "Export (API)"),
        ({"1": {"class_type": "A"}}, "node '1' must be an object with class_type and inputs"),
        ({"1": 5}, "node '1'"),
        ({"1": {"class_type": 1, "inputs": {}}}, "node '1'"),
    ],
)
def test_what_is_no_workflow_is_told_why(workflow: Any, reason: str) -> None:
    assert reason in wrong_with(workflow)


def test_each_place_for_a_random_number_gets_its_own() -> None:
    workflow = {
        "1": node(seed="__RANDOM_INT__", name="a-__RANDOM_INT__-__RANDOM_INT__", text="as it is", link=["2", 0])
    }
    counter = itertools.count(1)
    filled = fill_random(workflow, lambda: next(counter))
    assert filled["1"]["inputs"] == {"seed": 1, "name": "a-2-3", "text": "as it is", "link": ["2", 0]}
    assert workflow["1"]["inputs"]["seed"] == "__RANDOM_INT__"
