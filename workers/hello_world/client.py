"""Calls the endpoint once by each route: ``python -m workers.hello_world.client -k "$API_KEY" -e "$ENDPOINT_NAME"``."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
from typing import Any

from lib.test_utils import connect, print_truncate_res, test_args
from pyworker.client import Client
from pyworker.client.waiting import Waiting
from pyworker.errors import PyWorkerError
from workers.hello_world.data_types import InputData

PROMPT = "What is a proxy server? Answer in one sentence."


class CallError(Exception):
    """The endpoint answered with an error; the message is its own."""


async def generate(client: Client, endpoint: str, data: InputData) -> str:
    """The whole answer at once."""
    payload = dataclasses.asdict(data)
    async with client.call(endpoint, "/generate", payload, cost=data.count_workload()) as answer:
        body = await answer.read()
        if not answer.ok:
            raise CallError(f"/generate answers {answer.status}: {body.decode(errors='replace')}")
        return str(json.loads(body)["response"])


async def generate_stream(client: Client, endpoint: str, data: InputData) -> None:
    """Print the answer token by token, as they come."""
    payload = dataclasses.asdict(data)
    async with client.call(endpoint, "/generate_stream", payload, cost=data.count_workload()) as answer:
        if not answer.ok:
            raise CallError(
                f"/generate_stream answers {answer.status}: {(await answer.read()).decode(errors='replace')}"
            )
        async for line in answer.lines():
            event: dict[str, Any] = json.loads(line.removeprefix(b"data:"))
            sys.stdout.write(event.get("token", ""))
            sys.stdout.flush()
    sys.stdout.write("\n")


async def ask(client: Client, endpoint: str, data: InputData, waiting: Waiting) -> None:
    """One question by each route."""
    async with client:
        sys.stdout.write("/generate:\n")
        sys.stdout.flush()
        async with waiting.shown():
            answer = await generate(client, endpoint, data)
        print_truncate_res(answer)
        sys.stdout.write("\n/generate_stream:\n")
        await generate_stream(client, endpoint, data)


def main() -> int:
    """Run it. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, parents=[test_args], conflict_handler="resolve")
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--max-response-tokens", type=int, default=60, metavar="N")
    args = parser.parse_args()
    waiting = Waiting(sys.stderr, "the answer is not there yet")
    data = InputData(prompt=args.prompt, max_response_tokens=args.max_response_tokens)
    try:
        asyncio.run(ask(connect(args, waiting.heard), args.endpoint_group_name, data, waiting))
    except (PyWorkerError, CallError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
