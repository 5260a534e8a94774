"""Calls the endpoint once: ``python -m workers.embeddings.client -k "$API_KEY" -e "$ENDPOINT_NAME"``."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys

from lib.test_utils import connect, test_args
from pyworker.client import Client
from pyworker.errors import PyWorkerError
from workers.openai.workload import embeddings

TEXTS = ["A proxy stands between client and server.", "A gateway passes requests on.", "Plums ripen in August."]


class CallError(Exception):
    """The endpoint answered with an error; the message is its own."""


async def embed(client: Client, endpoint: str, texts: list[str], model: str) -> list[list[float]]:
    """The vectors of these texts. Raises CallError."""
    payload = {"model": model, "input": texts}
    async with client, client.call(endpoint, "/v1/embeddings", payload, cost=embeddings(payload)) as answer:
        body = await answer.read()
        if not answer.ok:
            raise CallError(f"/v1/embeddings answers {answer.status}: {body.decode(errors='replace')}")
    return [item["embedding"] for item in json.loads(body)["data"]]


def likeness(one: list[float], other: list[float]) -> float:
    """The cosine of the angle between two vectors: 1.0 when they point the same way."""
    return sum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other) or 1.0)


def main() -> int:
    """Run it. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, parents=[test_args], conflict_handler="resolve")
    parser.add_argument("--model", default="default", help="the model's name (default: %(default)s)")
    parser.add_argument("texts", nargs="*", default=TEXTS, help="the first is compared with the others")
    args = parser.parse_args()
    try:
        vectors = asyncio.run(embed(connect(args), args.endpoint_group_name, args.texts, args.model))
    except (PyWorkerError, CallError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    for text, vector in zip(args.texts, vectors, strict=True):
        sys.stdout.write(f"{likeness(vectors[0], vector):.3f}  {text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
