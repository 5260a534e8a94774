"""``POST /routes/``, which is ours: several requests of one client ask for their workers in one call."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pyworker.errors import JsonDataException
from pyworker.wire import RouteAnswer, RouteRequest, WaitingAnswer, decode_object, route_answer

__all__ = ["MOST_ROUTES", "RouteAnswers", "RouteRequests", "parse_route_answers", "parse_route_requests"]

MOST_ROUTES: Final = 64


class RouteRequests(msgspec.Struct):
    """The body: bodies of ``/route/``, whose ``api_key`` and ``wait`` are not read: nothing is held."""

    requests: list[RouteRequest]
    api_key: str | None = None


class RouteAnswers(msgspec.Struct):
    """The answer: those of ``/route/`` in their order; null for a request that is to ask for itself."""

    answers: list[RouteAnswer | WaitingAnswer | None]


def parse_route_requests(body: bytes) -> RouteRequests:
    """The body as an engine reads it. Raises InvalidJson, or JsonDataException when a field is wrong."""
    try:
        batch = msgspec.convert(decode_object(body), RouteRequests)
    except msgspec.ValidationError as error:
        raise JsonDataException({"routes": str(error)}) from None
    if not 1 <= len(batch.requests) <= MOST_ROUTES:
        raise JsonDataException({"requests": f"from 1 to {MOST_ROUTES} of them"})
    return batch


def parse_route_answers(body: bytes, count: int) -> list[RouteAnswer | WaitingAnswer | None]:
    """What an engine answered to ``count`` requests. Raises InvalidJson, or JsonDataException."""
    try:
        answers = msgspec.convert(decode_object(body).get("answers"), list[dict[str, Any] | None])
    except msgspec.ValidationError as error:
        raise JsonDataException({"answers": str(error)}) from None
    if len(answers) != count:
        raise JsonDataException({"answers": f"not {count} of them"})
    return [None if answer is None else route_answer(answer) for answer in answers]
