"""The OpenAI worker's workload: estimated from a payload, and read from an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworker.worker.core.ledger import valid_workload
from workers.openai.workload import ESTIMATES, RECORDING, answered, chat, completion, embeddings, image, rerank, speech

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
NAMES = ["messages", "prompt", "input", "max_tokens", "max_completion_tokens", "n", "best_of", "documents", "query"]
FIELDS = st.sampled_from([*NAMES, "tools", "size", "instructions", "max_output_tokens", "suffix", "type", "content"])


def said(text: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 1, **more}


# --- estimates ------------------------------------------------------------------------------------


def test_a_chat_is_its_prompt_and_as_long_an_answer_as_is_allowed() -> None:
    assert chat({"messages": [{"role": "user", "content": "x" * 400}], "max_tokens": 50}) == 1 + 100 + 50


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_each_name_of_the_limit_counts(name: str) -> None:
    assert chat({name: 1234}) == 1234


def test_an_answer_without_a_limit_is_taken_for_a_usual_one() -> None:
    assert chat({}) == chat({"max_tokens": None}) == chat({"max_tokens": -1}) == chat({"max_tokens": "many"}) == 256


def test_a_limit_beyond_all_models_does_not_stop_the_queue() -> None:
    assert chat({"max_tokens": 10**12}) == 32_768


def test_each_choice_is_an_answer() -> None:
    assert chat({"max_tokens": 10, "n": 3}) == 30
    assert completion({"prompt": [1, 2], "max_tokens": 10, "n": 2, "best_of": 5}) == 2 + 50


def test_a_picture_is_a_fixed_number_of_tokens_however_it_is_sent() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    assert chat(said([{"type": "text", "text": "What is it?"}, picture])) < 1100
    assert chat(said([picture, picture])) > 2000


def test_text_that_is_not_latin_has_more_tokens_for_a_letter() -> None:
    assert chat(said("\u6f22" * 100)) > chat(said("x" * 100)) * 2


def test_a_prompt_may_be_token_ids_or_several_prompts() -> None:
    assert completion({"prompt": [7] * 1000, "max_tokens": 5}) == 1005
    assert completion({"prompt": ["x" * 40] * 3, "max_tokens": 5}) == 3 * 15
    assert completion({"prompt": [[1, 2, 3], [4]], "max_tokens": 5}) == 4 + 10


def test_embeddings_are_what_goes_in() -> None:
    assert embeddings({"input": "x" * 400}) == 100
    assert embeddings({"input": ["x" * 400, "x" * 40]}) == 110
    assert embeddings({"input": [[1, 2], [3]]}) == 3


def test_a_reranked_query_is_read_with_each_document() -> None:
    documents = ["x" * 40, {"text": "x" * 40}]
    assert rerank({"query": "x" * 8, "documents": documents}) == 2 * 2 + 20


def test_speech_is_as_long_as_its_text() -> None:
    assert speech({"input": "x" * 100}) == 200


def test_a_picture_to_be_made_is_counted_by_size_and_number() -> None:
    assert image({"prompt": "", "size": "1024x1024"}) == image({"prompt": "", "size": "auto"}) == 1000
    assert image({"prompt": "", "size": "512x512", "n": 2}) == 500


@given(st.dictionaries(FIELDS, JSON, max_size=6))
def test_whatever_a_client_sends_can_be_booked(payload: dict[str, Any]) -> None:
    assert all(valid_workload(estimate(payload)) for estimate in ESTIMATES.values())


def test_how_deep_a_payload_goes_does_not_matter() -> None:
    deep: Any = "x" * 40
    for _ in range(100_000):
        deep = [deep]
    assert chat({"messages": deep, "max_tokens": 1}) == 11
    while isinstance(deep, list):  # else it is freed by a recursion of Python's own
        deep = deep.pop()


# --- answers --------------------------------------------------------------------------------------

USAGE = {"prompt_tokens": 56, "completion_tokens": 5, "total_tokens": 61}
TIMINGS = {"cache_n": 55, "prompt_n": 1, "predicted_n": 3, "predicted_ms": 0.4}


@pytest.mark.parametrize(
    ("counts", "tokens"),
    [
        ({"usage": USAGE}, 61),
        ({"usage": {"prompt_tokens": 56, "completion_tokens": 5}}, 61),
        ({"usage": {"input_tokens": 56, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 55}}}, 59),
        ({"usage": {"prompt_tokens": 8, "total_tokens": 8}}, 8),
        ({"usage": {"total_tokens": 9}}, 9),
        ({"usage": {"type": "duration", "seconds": 30}}, RECORDING),
        ({"usage": USAGE, "timings": TIMINGS}, 61),
        ({"timings": TIMINGS}, 59),
        ({"usage": None}, None),
        ({"usage": {}}, None),
        ({"usage": {"total_tokens": 0}}, None),
        ({"usage": {"total_tokens": "many"}}, None),
        ({"usage": {"total_tokens": -5}}, None),
        ({"usage": {"total_tokens": True}}, None),
        ({}, None),
    ],
)
def test_an_answer_says_what_it_took(counts: dict[str, Any], tokens: float | None) -> None:
    whole = {"choices": [{"message": {"content": "\u00e4" * 100}}], **counts, "id": "x"}
    for body in (json.dumps(whole), json.dumps(whole, ensure_ascii=False, separators=(",", ":"))):
        assert answered(body.encode()) == tokens


def test_of_a_stream_the_last_count_is_the_one() -> None:
    """vLLM may count in each event, and has ``null`` in those that do not count."""
    events = [{"usage": {"total_tokens": n}} for n in (5, 6, 7)] + [{"usage": None}]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    assert answered(body.encode()) == 7


def test_a_stream_of_the_responses_api_counts_in_its_last_event() -> None:
    event = {"type": "response.completed", "response": {"output": [], "usage": {"input_tokens": 5, "output_tokens": 6}}}
    assert answered(f"event: response.completed\ndata: {json.dumps(event)}\n\n".encode()) == 11


def test_the_text_of_an_answer_counts_for_nothing() -> None:
    text = json.dumps({"usage": {"total_tokens": 1}})
    assert answered(json.dumps({"content": text}).encode()) is None
    assert answered(json.dumps({"usage": USAGE, "content": text}).encode()) == 61


def test_an_end_that_was_cut_off_says_nothing() -> None:
    assert answered(json.dumps({"usage": USAGE}).encode()[:-10]) is None
    assert answered(json.dumps({"usage": USAGE}).encode()[20:]) is None


@given(st.binary(max_size=200) | st.binary(max_size=50).map(lambda more: b'{"usage": {"total_tokens": ' + more))
def test_whatever_a_model_answers_can_be_booked(body: bytes) -> None:
    count = answered(body)
    assert count is None or valid_workload(count)
