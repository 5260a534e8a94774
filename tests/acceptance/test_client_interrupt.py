"""Ctrl-C in a script with the client that needs no ``async``."""

from __future__ import annotations

import asyncio
import signal
import sys

from pyworker.testing import by_hand
from tests.support.commands import running
from tests.support.engines import API_KEY, a_fleet

SCRIPT = """
import sys
from pyworker.client.sync import Client
with Client(sys.argv[1], sys.argv[2]) as client:
    client.endpoint("default").request("/generate", {"prompt": "Hello"})
"""


async def test_it_ends_at_once_and_the_worker_learns_of_it() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/generate", by_hand)
        async with running(sys.executable, "-W", "error", "-c", SCRIPT, engine.url, API_KEY, env={}) as script:
            request = await worker.requests.where(lambda request: request.path == "/generate")
            script.signal(signal.SIGINT)
            ended = await script.ended()
        assert ended.err.splitlines()[-1] == "KeyboardInterrupt"
        assert "Warning" not in ended.err
        await asyncio.wait_for(request.gone.wait(), 10)
