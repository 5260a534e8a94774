"""Calls the endpoint once by each route:

python -m workers.image.client -k "$API_KEY" -e "$ENDPOINT_NAME" photo.jpg

The first sends the image as it is, in a form, the second as base64 in JSON; both write a PNG.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import dataclasses
import sys
from pathlib import Path

from aiohttp import FormData

from lib.test_utils import client_cmd, test_args
from pyworker.client import Client
from pyworker.client.waiting import Waiting
from workers.image.data_types import StylizeData, random_image


async def stylize(client: Client, endpoint: str, image: bytes, style: str) -> bytes:
    """The image in its new style: bytes in, bytes out."""
    data = FormData({"style": style})
    data.add_field("image", image, filename="image", content_type="application/octet-stream")
    form = data()
    body, content_type = await form.as_bytes(), form.headers["Content-Type"]
    async with client.call_with_body(endpoint, "/stylize", body, content_type) as answer:
        await answer.require_ok()
        return await answer.read()


async def stylize_json(client: Client, endpoint: str, image: bytes, style: str) -> bytes:
    """The same with JSON on the way in."""
    data = StylizeData(image=base64.b64encode(image).decode(), style=style)
    payload = dataclasses.asdict(data)
    async with client.call(endpoint, "/stylize/json", payload, cost=data.count_workload()) as answer:
        await answer.require_ok()
        return await answer.read()


async def calls(client: Client, args: argparse.Namespace, waiting: Waiting) -> None:
    """One image by each route."""
    image = await asyncio.to_thread(args.image.read_bytes) if args.image else random_image(256)
    for name, call in (("stylized.png", stylize), ("stylized-json.png", stylize_json)):
        async with waiting.shown():
            painted = await call(client, args.endpoint_group_name, image, args.style)
        await asyncio.to_thread((args.out / name).write_bytes, painted)
        sys.stdout.write(f"{args.out / name}: {len(painted)} bytes\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, parents=[test_args], conflict_handler="resolve")
    parser.add_argument("image", nargs="?", type=Path, help="an image (default: noise)")
    parser.add_argument("--style", default="0", help="0 to 25, or a mix like 3:0.5,12:0.5 (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help="where to write (default: here)")
    client_cmd(calls, parser)
