"""Makes an image and shows how far it is:

python -m workers.comfyui.client -k "$API_KEY" -e "$ENDPOINT_NAME" --prompt "a lighthouse at dawn"
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.test_utils import client_cmd, test_args
from pyworker.client import Client
from pyworker.client.waiting import Waiting
from pyworker.errors import AnsweredWithError
from workers.comfyui.workload import Picture, workload

FLUX_S = 23.0


async def make_image(client: Client, args: argparse.Namespace, payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The images that a prompt becomes; each step is shown on the terminal."""
    cost = workload(Picture(args.width, args.height, args.steps), FLUX_S)
    async with client.call(args.endpoint_group_name, "/prompt", {**payload, "stream": True}, cost=cost) as answer:
        await answer.require_ok()
        async for line in answer.lines():
            event: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
            if event["status"] == "failed":
                raise AnsweredWithError(f"the workflow failed: {event['error']}")
            if event["status"] == "completed":
                return event["images"]
            if event["status"] == "progress":
                sys.stderr.write(f"\rstep {event['value']} of {event['max']} ")
    raise AnsweredWithError("the answer ended without an image")


async def calls(client: Client, args: argparse.Namespace, _: Waiting) -> None:
    """One image."""
    payload = {"prompt": args.prompt, "width": args.width, "height": args.height, "steps": args.steps}
    for image in await make_image(client, args, payload):
        path = args.out / Path(image["filename"]).name
        await asyncio.to_thread(path.write_bytes, base64.b64decode(image["data"]))
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, parents=[test_args], conflict_handler="resolve")
    parser.add_argument("--prompt", default="a lighthouse at dawn, oil on canvas")
    parser.add_argument("--width", type=int, default=1024, metavar="PX")
    parser.add_argument("--height", type=int, default=1024, metavar="PX")
    parser.add_argument("--steps", type=int, default=28, metavar="N")
    parser.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help="where to write (default: here)")
    client_cmd(calls, parser)
