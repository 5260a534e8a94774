"""Calls an endpoint: asks the engine for a worker, sends the request there, asks again when that worker cannot.

::

    async with Client("http://127.0.0.1:8080", api_key) as client:
        async with client.call("default", "/generate", {"prompt": "Hello"}) as answer:
            print(await answer.json())
"""

from __future__ import annotations

from pyworker.client.answer import Answer
from pyworker.client.client import Client

__all__ = ["Answer", "Client"]
