"""Workflows in ComfyUI's API format, ``{node id: {"class_type", "inputs"}}``: checked, measured, filled in; pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

from workers.comfyui.workload import STANDARD, Picture

__all__ = ["RANDOM_INT", "Workflow", "fill_random", "picture_of", "wrong_with"]

Workflow = dict[str, Any]

RANDOM_INT: Final = "__RANDOM_INT__"
MOST: Final = {"width": 16_384, "height": 16_384, "steps": 10_000, "batch_size": 4_096}  # what ComfyUI's nodes take
MOST_NODES: Final = 2_000


def wrong_with(workflow: Workflow) -> str:
    """Why this is no workflow; "" when it looks like one. What its nodes mean is ComfyUI's to say."""
    if "nodes" in workflow and "links" in workflow:
        return "this is the editor's format: save the workflow with 'Export (API)' and send that"
    if not 0 < len(workflow) <= MOST_NODES:
        return f"must have from 1 to {MOST_NODES} nodes"
    for name, node in workflow.items():
        parts = cast("dict[str, Any]", node) if isinstance(node, dict) else {}
        if not isinstance(parts.get("class_type"), str) or not isinstance(parts.get("inputs"), dict):
            return f"node {name!r} must be an object with class_type and inputs"
    return ""


def picture_of(workflow: Workflow) -> Picture:
    """The largest picture that its nodes name, and the steps of all its samplers.

    What is linked to another node is not known here, nor what is no number; the standard picture stands in for it.
    """
    sizes = [(width, height) for inputs in _inputs(workflow) if (width := _number(inputs, "width"))
             if (height := _number(inputs, "height"))]  # fmt: skip
    width, height = max(sizes, key=lambda size: size[0] * size[1], default=(STANDARD.width, STANDARD.height))
    steps = sum(_number(inputs, "steps") for inputs in _inputs(workflow))
    count = max((_number(inputs, "batch_size") for inputs in _inputs(workflow)), default=0)
    return dataclasses.replace(STANDARD, width=width, height=height, steps=steps or STANDARD.steps, count=count or 1)


def _inputs(workflow: Workflow) -> Iterator[dict[str, Any]]:
    return (node["inputs"] for node in workflow.values())


def _number(inputs: dict[str, Any], name: str) -> int:
    """A whole number above 0, no larger than its node takes; 0 when there is none."""
    value = inputs.get(name)
    return min(value, MOST[name]) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def fill_random(workflow: Workflow, number: Callable[[], int]) -> Workflow:
    """The workflow with a number in each place that says ``__RANDOM_INT__``, another for each; a copy."""
    return {
        name: {**node, "inputs": {key: _filled(value, number) for key, value in node["inputs"].items()}}
        for name, node in workflow.items()
    }


def _filled(value: Any, number: Callable[[], int]) -> Any:
    if not isinstance(value, str) or RANDOM_INT not in value:
        return value
    if value == RANDOM_INT:
        return number()
    first, *rest = value.split(RANDOM_INT)
    return first + "".join(f"{number()}{part}" for part in rest)
