"""Calls the endpoint once by each route: ``python -m workers.hello_world.client -k "$API_KEY" -e "$ENDPOINT_NAME"``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import Any

from lib.test_utils import client_cmd, print_truncate_res, test_args
from pyworker.client import Client
from pyworker.client.waiting import Waiting
from workers.hello_world.data_types import InputData

PROMPT = "What is a proxy server? Answer in one sentence."


async def generate(client: Client, endpoint: str, data: InputData) -> str:
    """The whole answer at once."""
    payload = dataclasses.asdict(data)
    async with client.call(endpoint, "/generate", payload, cost=data.count_workload()) as answer:
        await answer.require_ok()
        return str((await answer.json())["response"])


async def generate_stream(client: Client, endpoint: str, data: InputData) -> None:
    """Print the answer token by token, as they come."""
    payload = dataclasses.asdict(data)
    async with client.call(endpoint, "/generate_stream", payload, cost=data.count_workload()) as answer:
        await answer.require_ok()
        async for line in answer.lines():
            event: dict[str, Any] = json.loads(line.removeprefix(b"data:"))
            sys.stdout.write(event.get("token", ""))
            sys.stdout.flush()
    sys.stdout.write("\n")


async def ask(client: Client, args: argparse.Namespace, waiting: Waiting) -> None:
    """One question by each route."""
    data = InputData(prompt=args.prompt, max_response_tokens=args.max_response_tokens)
    sys.stdout.write("/generate:\n")
    sys.stdout.flush()
    async with waiting.shown():
        answer = await generate(client, args.endpoint_group_name, data)
    print_truncate_res(answer)
    sys.stdout.write("\n/generate_stream:\n")
    await generate_stream(client, args.endpoint_group_name, data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, parents=[test_args], conflict_handler="resolve")
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--max-response-tokens", type=int, default=60, metavar="N")
    client_cmd(ask, parser)
