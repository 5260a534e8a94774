"""Calls an endpoint: asks the engine for a worker, sends the request there, asks again when that worker cannot.

::

    async with Client("http://127.0.0.1:8080", api_key) as client:
        endpoint = await client.endpoint("default")
        result = await endpoint.request("/generate", {"prompt": "Hello"}, cost=100)
        print(result.json())
        async for event in endpoint.stream("/generate_stream", {"prompt": "Hello"}):
            print(event.json())

``pyworker.client.sync`` has the same without ``async``.
"""

from __future__ import annotations

from pyworker.client.answer import Answer
from pyworker.client.client import Client
from pyworker.client.endpoint import Endpoint
from pyworker.client.events import Event
from pyworker.client.hedging import Hedge
from pyworker.client.result import Result, Timings
from pyworker.client.retry import Retry
from pyworker.client.session import Session

__all__ = ["Answer", "Client", "Endpoint", "Event", "Hedge", "Result", "Retry", "Session", "Timings"]
