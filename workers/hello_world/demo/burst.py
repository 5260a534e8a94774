"""More requests at once than one worker can do in time."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections import Counter
from typing import Final

from pyworker.client import Client
from pyworker.errors import WorkerUnreachable
from workers.hello_world.data_types import InputData

__all__ = ["ask_at_once", "requests_for"]

QUEUE: Final = 1.2  # times what one worker does within target_queue_time: more than one can, less than two
WORDS, ANSWER_TOKENS = 40, 30  # as in the benchmark of demo/worker.py: its capacity holds for these requests
FEWEST, MOST = 4, 200
SAMPLES: Final = 20


def requests_for(capacity_per_s: float, target_queue_time_s: float) -> int:
    """How many requests at once make a queue that wants a second worker, and no third, when one does this much."""
    cost = sum(_a_request().count_workload() for _ in range(SAMPLES)) / SAMPLES
    return min(max(math.ceil(QUEUE * capacity_per_s * target_queue_time_s / cost), FEWEST), MOST)


async def ask_at_once(client: Client, endpoint: str, count: int) -> Counter[str]:
    """Ask so many times; how many of them each worker has answered, by its address. Raises PyWorkerError."""
    asking = [asyncio.ensure_future(_ask(client, endpoint, _a_request())) for _ in range(count)]
    try:
        return Counter(await asyncio.gather(*asking))
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


def _a_request() -> InputData:
    """One that no cache knows."""
    return dataclasses.replace(InputData.of_random_words(WORDS), max_response_tokens=ANSWER_TOKENS)


async def _ask(client: Client, endpoint: str, data: InputData) -> str:
    """The address of the worker that has answered."""
    async with client.call(endpoint, "/generate", dataclasses.asdict(data), cost=data.count_workload()) as answer:
        body = await answer.read()
        if not answer.ok:
            raise WorkerUnreachable(f"status {answer.status}: {body[:500].decode(errors='replace')}")
        return answer.worker_url
