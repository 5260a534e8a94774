"""What ``/generate`` and ``/generate_stream`` take: ``inputs`` and ``parameters``."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

from lib.data_types import ApiPayload, JsonDataException
from pyworker.prompts import random_prompt
from workers.openai.workload import chat, completion
from workers.tgi.parameters import DEFAULT_NEW_TOKENS, check_parameters

__all__ = ["GenerateData", "count_chat"]

TEST_WORDS = 250
TEST_NEW_TOKENS = 300


@dataclasses.dataclass
class GenerateData(ApiPayload):
    """A prompt, and how the answer shall be made; the parameters go to TGI as they came."""

    inputs: str
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])

    @classmethod
    def for_test(cls) -> Self:
        """What the load test sends."""
        return cls.of_random_words(TEST_WORDS)

    @classmethod
    def of_random_words(cls, words: int) -> Self:
        """A prompt that is a new one each time, so that no cache knows the answer."""
        return cls(inputs=random_prompt(words), parameters={"max_new_tokens": TEST_NEW_TOKENS})

    @classmethod
    def from_json_msg(cls, json_msg: dict[str, Any]) -> Self:
        """All that is wrong, parameter by parameter."""
        data = super().from_json_msg(json_msg)
        problems: dict[str, Any] = {}
        if not data.inputs:
            problems["inputs"] = "must not be empty"
        try:
            check_parameters(data.parameters)
        except JsonDataException as error:
            problems["parameters"] = error.message
        if problems:
            raise JsonDataException(problems)
        return data

    def count_workload(self) -> float:
        """Tokens: those of the prompt, estimated, and those of the answers, as many as they may have."""
        new_tokens = self.parameters.get("max_new_tokens") or DEFAULT_NEW_TOKENS
        asked = {"prompt": self.inputs, "max_tokens": new_tokens, "best_of": self.parameters.get("best_of") or 1}
        longest = self.parameters.get("truncate")
        answer = completion({**asked, "prompt": ""})
        prompt = completion(asked) - answer
        return answer + (min(prompt, longest) if longest is not None else prompt)


def count_chat(payload: dict[str, Any]) -> float:
    """The same for ``/v1/chat/completions``, whose payload is not checked here: TGI does that."""
    return chat({"max_tokens": DEFAULT_NEW_TOKENS, **payload})
