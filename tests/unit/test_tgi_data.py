"""TGI's payload: each parameter checked and named, none kept back; its workload in tokens."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworker.errors import JsonDataException
from workers.tgi.data_types import GenerateData, count_chat


def problems(fields: dict[str, Any]) -> dict[str, Any]:
    with pytest.raises(JsonDataException) as caught:
        GenerateData.from_json_msg(fields)
    return caught.value.message


def test_inputs_are_needed() -> None:
    assert problems({}) == {"inputs": "missing parameter"}
    assert problems({"inputs": ""}) == {"inputs": "must not be empty"}
    assert problems({"inputs": 5, "parameters": []}).keys() == {"inputs", "parameters"}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("temperature", 0, "must be above 0"),
        ("temperature", "hot", "expected number"),
        ("max_new_tokens", 0, "must be at least 1"),
        ("max_new_tokens", 1.5, "expected integer"),
        ("top_p", 1.1, "must be above 0 and at most 1"),
        ("top_k", 0, "must be above 0"),
        ("repetition_penalty", -1, "must be above 0"),
        ("frequency_penalty", -2, "must be above -2"),
        ("best_of", 0, "must be at least 1"),
        ("seed", -1, "must be at least 0"),
        ("do_sample", "yes", "expected boolean"),
        ("stop", "end", "expected array"),
        ("stop", [1], "expected string"),
        ("grammar", {"type": "json"}, '"value"'),
    ],
)
def test_a_parameter_that_is_wrong_is_named(name: str, value: Any, reason: str) -> None:
    wrong = problems({"inputs": "a", "parameters": {name: value, "watermark": True}})
    assert wrong["parameters"].keys() == {name}
    assert reason in wrong["parameters"][name]


def test_all_wrong_parameters_are_told_at_once() -> None:
    wrong = problems({"inputs": "", "parameters": {"temperature": -1, "top_p": 2}})
    assert (wrong["inputs"], wrong["parameters"].keys()) == ("must not be empty", {"temperature", "top_p"})


def test_parameters_go_to_tgi_as_they_came_those_that_are_not_known_too() -> None:
    parameters = {"temperature": 0.5, "stop": ["\n"], "seed": None, "newer_than_this": {"a": 1}}
    data = GenerateData.from_json_msg({"inputs": "a", "parameters": parameters})
    assert data.generate_payload_json() == {"inputs": "a", "parameters": parameters}


@pytest.mark.parametrize(
    ("inputs", "parameters", "expected"),
    [
        ("a" * 400, {}, 100 + 100),
        ("a" * 400, {"max_new_tokens": 50}, 100 + 50),
        ("a" * 400, {"max_new_tokens": 50, "best_of": 3}, 100 + 150),
        ("a" * 400, {"max_new_tokens": 50, "truncate": 30}, 30 + 50),
        ("a" * 400, {"max_new_tokens": None, "best_of": None, "truncate": None}, 100 + 100),
    ],
)
def test_the_workload_is_the_tokens_of_prompt_and_answers(
    inputs: str, parameters: dict[str, Any], expected: float
) -> None:
    data = GenerateData.from_json_msg({"inputs": inputs, "parameters": parameters})
    assert data.count_workload() == pytest.approx(expected)


@given(st.text(min_size=1), st.integers(1, 2**40), st.integers(1, 10**6), st.integers(1, 10**6))
def test_the_workload_is_finite_and_above_zero(inputs: str, new_tokens: int, best_of: int, truncate: int) -> None:
    parameters = {"max_new_tokens": new_tokens, "best_of": best_of, "truncate": truncate}
    data = GenerateData.from_json_msg({"inputs": inputs, "parameters": parameters})
    assert 0 < data.count_workload() < float("inf")


def test_a_chat_counts_alike() -> None:
    messages = [{"role": "user", "content": "a" * 400}]
    assert count_chat({"messages": messages}) == pytest.approx(200, abs=5)
    assert count_chat({"messages": messages, "max_tokens": 50}) == pytest.approx(150, abs=5)


def test_test_payloads_differ_and_pass_their_own_checks() -> None:
    first, second = GenerateData.for_test(), GenerateData.for_test()
    assert first.inputs != second.inputs
    assert GenerateData.from_json_msg(dataclasses.asdict(first)) == first
