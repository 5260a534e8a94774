"""Rules about what an author's payloads and workloads are. Pure: what is looked at was made before."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from pyworker.checking.findings import fault, one_line, warning
from pyworker.wire_check import Finding
from pyworker.worker.core.ledger import valid_workload

__all__ = ["as_json", "enlarged", "json_problem", "same_payloads", "steady_workload", "uncounted", "workload_problem"]

LARGER: Final = 7


def as_json(value: Any) -> str:
    """JSON as a client could send it. Raises ValueError or TypeError for what JSON has not got."""
    return json.dumps(value, allow_nan=False, sort_keys=True)


def json_problem(value: Any, path: str = "") -> str | None:
    """The first part of a value that is no JSON, with its name; None when all is well."""
    match value:
        case None | str() | bool() | int():
            return None
        case float():
            return None if math.isfinite(value) else f"{path or 'it'} is {value!r}, which JSON has not got"
        case Mapping():
            return _first_problem(cast("Mapping[object, Any]", value).items(), path)
        case list() | tuple():
            return _first_problem(enumerate(cast("Sequence[Any]", value)), path)
        case _:
            return f"{path or 'it'} is of type {type(value).__name__}, which JSON has not got"


def _first_problem(items: Any, path: str) -> str | None:
    for key, part in items:
        if not isinstance(key, str | int):
            return f"{path or 'it'} has the key {key!r}: JSON's keys are strings"
        problem = json_problem(part, f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}".lstrip("."))
        if problem:
            return problem
    return None


def workload_problem(workload: Any, where: str, name: str) -> Finding | None:
    """A workload is a finite number above 0."""
    number = isinstance(workload, int | float) and not isinstance(workload, bool)
    if number and math.isfinite(workload) and workload > 0:
        return None
    return fault(
        "workload",
        where,
        f"{name} gave {one_line(repr(workload))} for a test payload",
        "return a finite number above 0: how much work this payload means (tokens, pixels, steps)",
    )


def uncounted(workload: Any, where: str, name: str, field: str) -> Finding | None:
    """A count for a payload that is good without one of its fields; None when it is one that can be booked."""
    if valid_workload(workload):
        return None
    what = f"{name} gave {one_line(repr(workload))} when a client leaves {field!r} out"
    return fault("workload", where, what, "count with what the model takes then; never below 0")


def same_payloads(texts: Sequence[str], where: str, name: str, *, is_benchmark: bool) -> Finding | None:
    """The model's cache answers what it was asked before."""
    if len(texts) < 2 or len(set(texts)) > 1:
        return None
    make = fault if is_benchmark else warning
    what = f"{name} gave the same payload {len(texts)} times"
    measured = "the benchmark measures the model's cache" if is_benchmark else "a load test measures the model's cache"
    return make("same-payload", where, f"{what}: {measured}", "put something random into each: words, a seed, a number")


def enlarged(payload: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The same payload with one field larger, each in turn: longer text, a greater number, more items."""
    for name, value in payload.items():
        for larger in _larger(value):
            yield {**payload, name: larger}


def _larger(value: Any) -> Iterator[Any]:
    match value:
        case bool():
            yield not value
        case int() | float():
            yield value * LARGER + 1
        case str():
            yield " ".join([value or "word"] * LARGER)
        case list():
            items = cast("list[Any]", value)
            if items:  # nobody knows what else is in an empty one
                yield items * LARGER
                yield from ([larger, *items[1:]] for larger in _larger(items[0]))
        case Mapping():
            yield from enlarged(cast("Mapping[str, Any]", value))
        case _:
            yield from ()


def steady_workload(workloads: Sequence[Any], where: str, name: str) -> Finding | None:
    """A count that is the same for the small and the large tells an engine nothing about either."""
    if len(workloads) < 3 or len({repr(workload) for workload in workloads}) > 1:
        return None
    return warning(
        "workload-steady",
        where,
        f"{name} gave {workloads[0]!r} whatever was in the payload",
        "count what makes a request long for the model; if all requests are alike, this is as it should be",
    )
