"""What the model's API takes: the payload of ``/generate`` and of ``/generate_stream``."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

from lib.data_types import ApiPayload, JsonDataException
from workers.hello_world.prompt_tokens import count_tokens
from workers.hello_world.random_words import random_words

__all__ = ["InputData"]


@dataclasses.dataclass
class InputData(ApiPayload):
    """A prompt, and how many tokens the answer may have; None leaves that to the model server."""

    prompt: str
    max_response_tokens: int | None = None

    @classmethod
    def for_test(cls) -> Self:
        """What the load test sends."""
        return cls.of_random_words(250)

    @classmethod
    def of_random_words(cls, words: int) -> Self:
        """A prompt that is a new one each time, so that no cache knows the answer."""
        return cls(prompt=" ".join(random_words(words)), max_response_tokens=300)

    @classmethod
    def from_json_msg(cls, json_msg: dict[str, Any]) -> Self:
        """The base class sees that every field is there and of its type; what else must hold is checked here."""
        data = super().from_json_msg(json_msg)
        if data.max_response_tokens is not None and data.max_response_tokens < 1:
            raise JsonDataException({"max_response_tokens": "must be 1 or more"})
        return data

    def generate_payload_json(self) -> dict[str, Any]:
        """What the model server is sent."""
        return {"prompt": self.prompt, "max_response_tokens": self.max_response_tokens}

    def count_workload(self) -> float:
        """Prompt tokens: the unit of this worker's load and capacity."""
        return count_tokens(self.prompt)
