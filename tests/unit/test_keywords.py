"""A payload as the keywords of a function."""

from __future__ import annotations

from typing import Any

import pytest

from pyworker import JsonDataException
from pyworker.worker.keywords import Keywords


async def function(prompt: str, *, tokens: int = 5, **_: Any) -> str:
    return prompt * tokens


async def strict(prompt: str, tokens: int = 5) -> str:
    return prompt * tokens


class Model:
    async def method(self, prompt: str) -> str:
        return prompt


@pytest.mark.parametrize(
    ("called", "payload", "problems"),
    [
        (function, {"prompt": "a", "anything": 1}, {}),
        (function, {"tokens": 1}, {"prompt": "missing parameter"}),
        (strict, {"prompt": "a"}, {}),
        (strict, {"prompt": "a", "token": 1}, {"token": "unknown parameter; did you mean 'tokens'?"}),
        (strict, {"prompt": "a", "zzz": 1}, {"zzz": "unknown parameter"}),
        (Model().method, {"prompt": "a"}, {}),
        (Model().method, {"self": 1, "prompt": "a"}, {"self": "unknown parameter"}),
    ],
)
def test_what_does_not_fit_is_named(called: Any, payload: dict[str, Any], problems: dict[str, str]) -> None:
    keywords = Keywords(called)
    if not problems:
        keywords.check(payload)
        return
    with pytest.raises(JsonDataException) as raised:
        keywords.check(payload)
    assert raised.value.message == problems
