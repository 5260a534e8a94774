"""What a caller of the gateway asks for. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote

import msgspec

from pyworker.errors import BadRequest
from pyworker.headers import query_without_key

__all__ = ["COST_HEADER", "OPENAI", "PLAIN", "Asked", "Claim", "claim_in", "key_in", "target_in"]

OPENAI: Final = "openai"
PLAIN: Final = "endpoints"
COST_HEADER: Final = "X-Cost"

DEFAULT_COST: Final = 100.0
BYTES_A_TOKEN: Final = 4.0  # of English text, about
LONGEST_LOOK_BYTES: Final = 1024 * 1024  # a larger body is an image or a sound, and not decoded
_BEARER: Final = "bearer "
_JSON: Final = "application/json"


class Asked(NamedTuple):
    """A request: for which endpoint, the target at its worker, whose key, its claimed cost, whether it wants events."""

    endpoint: str
    target: str
    api_key: str | None
    cost: float
    wants_events: bool


class Claim(NamedTuple):
    """The cost that a body claims, and whether its caller wants the answer as server-sent events."""

    cost: float
    wants_events: bool


class _Generation(msgspec.Struct):
    """What is of interest in a request of the OpenAI API; each field may be anything."""

    stream: object = None
    n: object = None
    max_tokens: object = None
    max_completion_tokens: object = None
    max_output_tokens: object = None


_decoder = msgspec.json.Decoder(_Generation)


def target_in(raw_path: str, query: str) -> tuple[str, str]:
    """Of ``/openai/<endpoint>/v1/models`` or ``/endpoints/<endpoint>/generate``: the endpoint's name, the target there.

    The target is as it was sent, percent-encoded, its query less ``api_key``.
    """
    _, _, name, *rest = raw_path.split("/", 3)
    query = query_without_key(query)
    return unquote(name), "/" + "".join(rest) + (f"?{query}" if query else "")


def key_in(headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """The API key: ``Authorization: Bearer``, else ``api_key`` in the query."""
    value = headers.get("Authorization", "")
    bearer = value[len(_BEARER) :].strip() if value.lower().startswith(_BEARER) else ""
    return bearer or query.get("api_key") or None


def claim_in(headers: Mapping[str, str], body: bytes | memoryview) -> Claim:
    """What a request claims to cost: its ``X-Cost``; else, of a generation, tokens sent and asked for; else 100.

    The engine scales claims by what an endpoint's workers count: they need to be in proportion, not in a unit. Raises
    BadRequest for an ``X-Cost`` that is none.
    """
    stated = headers.get(COST_HEADER)
    generation = _generation(headers, body)
    wants_events = generation is not None and generation.stream is True
    if stated is not None:
        return Claim(_stated(stated), wants_events)
    if generation is None:
        return Claim(DEFAULT_COST, wants_events=False)
    answers = _count(generation.n) or 1
    limits = (generation.max_tokens, generation.max_completion_tokens, generation.max_output_tokens)
    asked = next((limit for limit in map(_count, limits) if limit), 0) or DEFAULT_COST
    return Claim(len(body) / BYTES_A_TOKEN + answers * asked, wants_events)


def _generation(headers: Mapping[str, str], body: bytes | memoryview) -> _Generation | None:
    if len(body) > LONGEST_LOOK_BYTES or not headers.get("Content-Type", "").lower().startswith(_JSON):
        return None
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError:
        return None  # the worker will say what is wrong with it


def _stated(text: str) -> float:
    try:
        cost = float(text)
    except ValueError:
        cost = -1.0
    if not 0 <= cost < math.inf:
        raise BadRequest(f"the header {COST_HEADER} is {text[:40]!r}; give the request's workload, a number from 0 up")
    return cost


def _count(value: object) -> int:
    return min(value, 1_000_000) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
