"""The kinds of handlers that authors write: what holds of requests holds for every one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyworker.backend import Handler
from tests.support.workers.handlers import (
    Generate,
    GenerateStream,
    answered_generate,
    answered_stream,
    parsed_generate,
    pass_generate,
    pass_stream,
)

__all__ = ["Kind", "every_kind", "every_stream"]

Kind = Callable[..., Handler]

every_kind = pytest.mark.parametrize(
    "kind",
    [pass_generate, Generate, parsed_generate, answered_generate],
    ids=["passed_through", "authored", "parsed", "answered"],
)
every_stream = pytest.mark.parametrize(
    "kind", [pass_stream, GenerateStream, answered_stream], ids=["passed_through", "authored", "answered"]
)
