"""The payload of the guide's model server."""

import dataclasses
from typing import Self

from lib.data_types import ApiPayload


@dataclasses.dataclass
class InputData(ApiPayload):
    prompt: str
    max_response_tokens: int

    @classmethod
    def for_test(cls) -> Self:
        return cls(prompt="lorem ipsum", max_response_tokens=300)

    def count_workload(self) -> float:
        return float(self.max_response_tokens)
