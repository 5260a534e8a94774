"""The command line of a worker's ``client.py``: which engine, which key, what is waited for, and how it ends."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable

from pyworker.client import Client
from pyworker.client.waiting import Waiting
from pyworker.errors import PyWorkerError
from pyworker.load.command import connect
from pyworker.load.trial import FAILED, INTERRUPTED

__all__ = ["client_cmd"]

Calls = Callable[[Client, argparse.Namespace, Waiting], Awaitable[None]]


def client_cmd(calls: Calls, arg_parser: argparse.ArgumentParser) -> None:
    """Connect to the engine that the command line names, make the calls of a ``client.py``, and exit.

    ``arg_parser`` has ``test_args`` for a parent. What stands in the way of a call is said; ``async with
    waiting.shown():`` says on a terminal that it is waited for an answer, too. The status is 0; 1 after an error, which
    is printed; 130 after Ctrl-C.
    """
    sys.exit(_call(calls, arg_parser.parse_args()))


def _call(calls: Calls, args: argparse.Namespace) -> int:
    try:
        asyncio.run(_connected(calls, args))
    except PyWorkerError as error:
        sys.stderr.write(f"error: {error}\n")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


async def _connected(calls: Calls, args: argparse.Namespace) -> None:
    waiting = Waiting(sys.stderr, "the answer is not there yet")
    async with connect(args, waiting.heard) as client:
        await calls(client, args, waiting)
