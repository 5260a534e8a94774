"""A chat's workload is the tokens of its messages' texts, whatever else a client sends."""

from __future__ import annotations

from typing import Any

import pytest

from workers.hello_world.demo.chat import chat_tokens
from workers.hello_world.prompt_tokens import count_tokens

SAID = {"role": "user", "content": "What is the capital of France?"}


def test_all_messages_count_as_a_prompt_of_generate_does() -> None:
    parts = {"role": "user", "content": [{"type": "text", "text": "And of Spain?"}, {"type": "image_url"}]}
    expected = count_tokens("What is the capital of France?") + count_tokens("And of Spain?")
    assert chat_tokens({"messages": [SAID, parts]}) == expected


@pytest.mark.parametrize(
    "messages", [None, 7, "text", {}, [7, None, []], [{"content": 7}], [{"content": [7, {"text": None}]}], [{}]]
)
def test_what_is_no_chat_counts_nothing_and_does_not_fail(messages: Any) -> None:
    assert chat_tokens({"messages": messages}) == 0
