"""From a request to the head of its answer: ask for a worker, send, and again as long as no worker has begun it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import aiohttp
import yarl

from pyworker.client.failures import WorkerLost, raise_closed
from pyworker.client.pursuit import Pursuit
from pyworker.client.retry import ASK_AGAIN, NEVER, Retry, goes_again, read_retry_after
from pyworker.errors import WorkerUnreachable
from pyworker.wire import RouteAnswer, RouteRequest, WaitingAnswer

__all__ = ["HOLD_S", "Answered", "Ask", "Find", "Send", "find_worker", "first_answer", "sent"]

HOLD_S: Final = 20.0  # how long the engine may hold a call of /route/
FIRST_HOLD_S: Final = 2.0  # at first, so that who waits soon knows why
REPLAY_S: Final = 60.0

Ask = Callable[[RouteRequest], Awaitable["RouteAnswer | WaitingAnswer"]]
Find = Callable[[Pursuit], Awaitable[RouteAnswer]]
Send = Callable[[RouteAnswer], Awaitable["aiohttp.ClientResponse | None"]]
_Outcome = aiohttp.ClientResponse | WorkerLost | None


class Answered(NamedTuple):
    """A worker's answer, its body still on its way, and where it came from."""

    response: aiohttp.ClientResponse
    routed: RouteAnswer


async def find_worker(pursuit: Pursuit, ask: Ask, endpoint: str, cost: float, api_key: str | None) -> RouteAnswer:
    """A worker for this request; asks until there is one. Raises what ``ask`` raises."""
    while True:
        asked_s = time.monotonic()
        longest_s = HOLD_S if pursuit.request_idx else FIRST_HOLD_S
        hold_s = max(0.0, min(longest_s, pursuit.left_s - 0.5))
        routed = await ask(RouteRequest(endpoint, api_key, cost, pursuit.request_idx, REPLAY_S, hold_s))
        pursuit.request_idx = routed.request_idx or pursuit.request_idx
        if isinstance(routed, RouteAnswer):
            return routed
        pursuit.met(_why(routed))
        if time.monotonic() - asked_s < max(hold_s, 1.0):  # this engine does not hold calls
            await asyncio.sleep(pursuit.next_poll_s())


async def first_answer(pursuit: Pursuit, find: Find, send: Send, retry: Retry = NEVER) -> Answered:
    """The first answer of a worker that took the request; when time runs out, the last refusal.

    ``send`` gives None for a worker that does not accept connections. It, and one that answers 408, 429 or 503, has
    not begun: then ``find`` is asked again. What may have been begun goes again as often as ``retry`` says, as a new
    request. Raises what these raise, and NoAnswerInTime.
    """
    failures = 0
    while True:
        routed = await find(pursuit)
        pursuit.found(routed.url)
        outcome = await _outcome(send, routed)
        status = outcome.status if isinstance(outcome, aiohttp.ClientResponse) else None
        may_have_begun = outcome is not None and status not in ASK_AGAIN
        wait_s = None
        if not may_have_begun or goes_again(status, failures, retry):
            pursuit.met(f"the worker at {routed.url} " + _obstacle(outcome))
            wait_s = pursuit.next_attempt_s(_asked_s(outcome))
        if wait_s is None:
            return _final(pursuit, routed, outcome)
        if may_have_begun:
            failures += 1
            pursuit.request_idx = 0  # the one that was begun is in that worker's books
        if isinstance(outcome, aiohttp.ClientResponse):
            outcome.close()
        await asyncio.sleep(wait_s)


async def _outcome(send: Send, routed: RouteAnswer) -> _Outcome:
    try:
        return await send(routed)
    except WorkerLost as error:
        return error


def _final(pursuit: Pursuit, routed: RouteAnswer, outcome: _Outcome) -> Answered:
    if outcome is None:
        raise pursuit.overdue()
    if isinstance(outcome, WorkerLost):
        raise outcome
    return Answered(outcome, routed)


async def sent(
    http: aiohttp.ClientSession, method: str, url: str | yarl.URL, routed: RouteAnswer, **kwargs: Any
) -> aiohttp.ClientResponse | None:
    """A worker's answer to this; None when it does not accept connections.

    Raises WorkerUnreachable; WorkerLost when it took the connection, and then gave no answer.
    """
    try:
        return await http.request(method, url, allow_redirects=False, **kwargs)
    except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as error:
        raise WorkerUnreachable(f"the worker at {routed.url} has no certificate of the engine's: {error}") from None
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        return None
    except (aiohttp.ClientError, ConnectionError) as error:
        raise WorkerLost(f"the worker at {routed.url} gave no answer: {error}") from None
    except RuntimeError:
        raise_closed(http)
        raise


def _obstacle(outcome: _Outcome) -> str:
    if isinstance(outcome, WorkerLost):
        return "went away"
    return "does not accept connections" if outcome is None else f"answers {outcome.status}"


def _asked_s(outcome: _Outcome) -> float | None:
    """What the worker asks to wait for."""
    return read_retry_after(outcome.headers.get("Retry-After") if isinstance(outcome, aiohttp.ClientResponse) else None)


def _why(waiting: WaitingAnswer) -> str:
    """Why there is no worker yet, in words."""
    if isinstance(waiting.status, str):
        return waiting.status or "no worker yet"
    words = {"IDLE": "busy"}  # the state of a worker that is ready, which here means: with too much to do already
    counts = {words.get(state, state): count for state, count in waiting.status.items()}
    if waiting.benchmarking:
        counts["MODEL_LOADING"] = counts.get("MODEL_LOADING", 0) - waiting.benchmarking
        counts["benchmarking"] = waiting.benchmarking
    told = (f"{count} {state}" for state, count in counts.items() if count > 0)
    return f"no worker is free ({', '.join(told)})"
