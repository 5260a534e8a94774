"""Load-tests an endpoint:

python -m workers.openai.test_load -n 1000 -rps 0.5 -k "$API_KEY" -e "$ENDPOINT_NAME"
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Self

from lib.data_types import ApiPayload
from lib.test_utils import test_args, test_load_cmd
from pyworker.prompts import random_prompt
from workers.openai.workload import chat

WORKER_ENDPOINT = "/v1/chat/completions"


@dataclasses.dataclass
class ChatData(ApiPayload):
    """A question, which is a new one each time, and an answer of up to 300 tokens."""

    messages: list[dict[str, Any]]
    model: str = dataclasses.field(default_factory=lambda: os.environ.get("MODEL_NAME", "default"))
    max_tokens: int = 300

    @classmethod
    def for_test(cls) -> Self:
        """What the load test sends."""
        return cls([{"role": "user", "content": random_prompt(250)}])

    def count_workload(self) -> float:
        """Tokens, as the worker estimates them."""
        return chat(dataclasses.asdict(self))


if __name__ == "__main__":
    test_load_cmd(ChatData, WORKER_ENDPOINT, arg_parser=test_args)
