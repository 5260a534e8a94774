"""What is sent: a payload with places for a prompt and for sizes. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from pyworker.load.trace import Arrival
from pyworker.prompts import random_prompt

__all__ = ["Payload", "chat", "filled"]

Payload = Callable[[Arrival], dict[str, Any]]

_LARGEST_SEED: Final = 2**31


def filled(template: Mapping[str, Any], chance: random.Random) -> Payload:
    """Payloads of a template, in which a string that is one of these is replaced, wherever it stands:

    ``{prompt}`` by as many random words (most are a token each) as the arrival has input tokens, ``{output_tokens}``
    and ``{input_tokens}`` by its sizes, ``{seed}`` by a random number.
    """

    def payload(arrival: Arrival) -> dict[str, Any]:
        places: dict[str, Callable[[], Any]] = {
            "{prompt}": lambda: random_prompt(max(1, arrival.input_tokens)),
            "{input_tokens}": lambda: arrival.input_tokens,
            "{output_tokens}": lambda: max(1, arrival.output_tokens),
            "{seed}": lambda: chance.randrange(_LARGEST_SEED),
        }
        return cast("dict[str, Any]", _fill(template, places))

    return payload


def chat(model: str) -> dict[str, Any]:
    """The template of a chat completion that streams."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": "{prompt}"}],
        "max_tokens": "{output_tokens}",
        "stream": True,
    }


def _fill(value: Any, places: Mapping[str, Callable[[], Any]]) -> Any:
    if isinstance(value, str):
        return places[value]() if value in places else value
    if isinstance(value, Mapping):
        return {name: _fill(part, places) for name, part in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list):
        return [_fill(part, places) for part in cast("list[Any]", value)]
    return value
