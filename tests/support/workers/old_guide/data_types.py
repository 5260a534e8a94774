# pyright: basic
# ruff: noqa: S311, UP006, UP035
import dataclasses
import inspect
import random
from typing import Any, Dict

from lib.data_types import ApiPayload, JsonDataException

WORDS = ["time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world", "school"]


@dataclasses.dataclass
class InputData(ApiPayload):
    prompt: str
    max_response_tokens: int

    @classmethod
    def for_test(cls, words: int = 250) -> "InputData":
        prompt = " ".join(random.choices(WORDS, k=words))
        return cls(prompt=prompt, max_response_tokens=300)

    def count_workload(self) -> int:
        return len(self.prompt.split())

    @classmethod
    def from_json_msg(cls, json_msg: Dict[str, Any]) -> "InputData":
        errors = {}
        for param in inspect.signature(cls).parameters:
            if param not in json_msg:
                errors[param] = "missing parameter"
        if errors:
            raise JsonDataException(errors)
        return cls(**{k: v for k, v in json_msg.items() if k in inspect.signature(cls).parameters})
