"""``python -m benchmarks.client_load URL KEY KIND``: small requests from our client, and what they cost this process.

KIND is ``together`` (64 at a time), ``alone`` (one after the other) or ``sync`` (the client without ``async``, 16
threads). Prints the requests per CPU second.
"""

from __future__ import annotations

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvloop

from pyworker.client import Client, Endpoint, sync

__all__ = ["KINDS"]

PAYLOAD: dict[str, Any] = {"prompt": "Hello", "max_response_tokens": 10}
KINDS = {"together": 64, "alone": 1, "sync": 16}
WARM, MEASURED = 500, 6000


def main() -> None:
    """Warm up, then measure."""
    url, key, kind = sys.argv[1:]
    per_cpu_s = _in_threads(url, key) if kind == "sync" else uvloop.run(_in_tasks(url, key, KINDS[kind]))
    sys.stdout.write(f"{per_cpu_s}\n")


async def _in_tasks(url: str, key: str, tasks: int) -> float:
    async with Client(url, key) as client:
        endpoint = await client.endpoint("default")
        await asyncio.gather(*(_ask(endpoint, WARM // tasks) for _ in range(tasks)))
        used_s, count = time.process_time(), MEASURED // tasks
        await asyncio.gather(*(_ask(endpoint, count) for _ in range(tasks)))
        return count * tasks / (time.process_time() - used_s)


async def _ask(endpoint: Endpoint, count: int) -> None:
    for _ in range(count):
        (await endpoint.request("/generate", PAYLOAD, cost=1.0)).require_ok()


def _in_threads(url: str, key: str) -> float:
    threads = KINDS["sync"]
    with sync.Client(url, key) as client, ThreadPoolExecutor(threads) as pool:
        endpoint = client.endpoint("default")

        def ask(count: int) -> None:
            for _ in range(count):
                endpoint.request("/generate", PAYLOAD, cost=1.0).require_ok()

        list(pool.map(ask, [WARM // threads] * threads))
        used_s, count = time.process_time(), MEASURED // threads
        list(pool.map(ask, [count] * threads))
        return count * threads / (time.process_time() - used_s)


if __name__ == "__main__":
    main()
