"""Calls the endpoint once by each route: ``python -m workers.tgi.client -k "$API_KEY" -e "$ENDPOINT_NAME"``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping
from typing import Any

from lib.test_utils import client_cmd, print_truncate_res, test_args
from pyworker.client import Client
from pyworker.client.waiting import Waiting
from pyworker.errors import AnsweredWithError
from workers.tgi.data_types import GenerateData, count_chat

PROMPT = "What is a proxy server? Answer in one sentence."


async def ask(client: Client, endpoint: str, route: str, payload: Mapping[str, Any], cost: float) -> dict[str, Any]:
    """An answer that is JSON."""
    async with client.call(endpoint, route, payload, cost=cost) as answer:
        await answer.require_ok()
        return await answer.json()


async def generate_stream(client: Client, endpoint: str, data: GenerateData) -> None:
    """Print the text token by token, as they come."""
    payload = dataclasses.asdict(data)
    async with client.call(endpoint, "/generate_stream", payload, cost=data.count_workload()) as answer:
        await answer.require_ok()
        async for line in answer.lines():
            event: dict[str, Any] = json.loads(line.removeprefix(b"data:"))
            if "error" in event:
                raise AnsweredWithError(f"/generate_stream broke off: {event['error']}")
            sys.stdout.write(event["token"]["text"])
            sys.stdout.flush()
    sys.stdout.write("\n")


async def calls(client: Client, args: argparse.Namespace, waiting: Waiting) -> None:
    """One question by each route."""
    data = GenerateData(inputs=args.prompt, parameters={"max_new_tokens": args.max_new_tokens})
    endpoint: str = args.endpoint_group_name
    sys.stdout.write("/generate:\n")
    sys.stdout.flush()
    async with waiting.shown():
        told = await ask(client, endpoint, "/generate", dataclasses.asdict(data), data.count_workload())
    print_truncate_res(told["generated_text"])
    sys.stdout.write("\n/generate_stream:\n")
    await generate_stream(client, endpoint, data)
    sys.stdout.write("\n/v1/chat/completions:\n")
    payload = {"messages": [{"role": "user", "content": args.prompt}], "max_tokens": args.max_new_tokens}
    told = await ask(client, endpoint, "/v1/chat/completions", payload, count_chat(payload))
    print_truncate_res(told["choices"][0]["message"]["content"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, parents=[test_args], conflict_handler="resolve")
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--max-new-tokens", type=int, default=60, metavar="N")
    client_cmd(calls, parser)
