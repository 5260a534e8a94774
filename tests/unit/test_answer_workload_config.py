"""``answer_workload`` and ``workload`` of a HandlerConfig: what they take, and whose handlers have none."""

from __future__ import annotations

from typing import Any

import pytest

from pyworker import ConfigurationError, HandlerConfig, Worker, WorkerConfig
from pyworker.handlers import DeclaredHandler


async def generator(request: Any, response: Any) -> Any: ...
async def function(**payload: Any) -> Any: ...


def count(last_bytes: bytes) -> float | None: ...
def count_of_two(last_bytes: bytes, status: int) -> float | None: ...


async def count_later(last_bytes: bytes) -> float | None: ...


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"answer_workload": 5}, "answer_workload is 5; it takes a function of the end of the answer"),
        ({"answer_workload": count_of_two}, "it is called with the end of the answer"),
        ({"answer_workload": count_later}, "answer_workload is async; write `def count_later`"),
        ({"answer_workload": count, "response_generator": generator}, "reads answers that pass through"),
        ({"answer_workload": count, "remote_function": function}, "reads answers that pass through"),
        ({"workload": -1}, "workload is -1"),
        ({"workload": None}, "workload is None"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        HandlerConfig(route="/x", **given)


def test_both_reach_the_handler() -> None:
    config = HandlerConfig(route="/x", workload=7.0, answer_workload=count)
    (mount,) = Worker(WorkerConfig(model_server_url="http://m", handlers=[config])).backend.mounts
    assert isinstance(mount.handler, DeclaredHandler)
    assert (mount.handler.workload, mount.handler.answer_workload) == (7.0, count)
