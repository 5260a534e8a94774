"""Load-tests an endpoint:

python -m workers.embeddings.test_load -n 1000 -rps 5 -k "$API_KEY" -e "$ENDPOINT_NAME"
"""

from __future__ import annotations

import dataclasses
import os
from typing import Self

from lib.data_types import ApiPayload
from lib.test_utils import test_args, test_load_cmd
from pyworker.prompts import random_prompt
from workers.openai.workload import embeddings

WORKER_ENDPOINT = "/v1/embeddings"


@dataclasses.dataclass
class TextsData(ApiPayload):
    """Texts, which are new ones each time."""

    input: list[str]
    model: str = dataclasses.field(default_factory=lambda: os.environ.get("MODEL_NAME", "default"))

    @classmethod
    def for_test(cls) -> Self:
        """What the load test sends."""
        return cls([random_prompt(60) for _ in range(4)])

    def count_workload(self) -> float:
        """Tokens, as the worker estimates them."""
        return embeddings(dataclasses.asdict(self))


if __name__ == "__main__":
    test_load_cmd(TextsData, WORKER_ENDPOINT, arg_parser=test_args)
