"""A model server that takes its time: one token every ``TOKEN_S``, however many requests it has."""

import asyncio
import os
import sys

from aiohttp import web

TOKEN_S = float(os.environ.get("TOKEN_S", "0.01"))


async def generate(request: web.Request) -> web.Response:
    """Answer after as long as the tokens take, and say who answered."""
    tokens = (await request.json()).get("tokens", 1)
    await asyncio.sleep(TOKEN_S * tokens)
    return web.json_response({"tokens": tokens, "by": os.environ.get("CONTAINER_ID"), "as": os.environ.get("VERSION")})


async def health(_: web.Request) -> web.Response:
    """Well."""
    return web.Response(text="ok")


if __name__ == "__main__":
    if os.environ.get("CRASHES"):
        sys.exit("no such model")
    app = web.Application()
    app.add_routes([web.post("/generate", generate), web.get("/health", health)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
