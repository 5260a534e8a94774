"""What an author's functions do: those that make the benchmark's payloads, parse a client's, and count."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pyworker.api import EndpointHandler
from pyworker.backend import Handler
from pyworker.checking.author import AuthorCode, Tried, attempt_in_loop, attempt_in_thread
from pyworker.checking.findings import come_of, fault, raised
from pyworker.checking.payloads import MISTAKEN, SAMPLES, SAY_WHICH, it_raises, judge_counts
from pyworker.checking.values import (
    as_json,
    enlarged,
    json_problem,
    same_payloads,
    steady_workload,
    uncounted,
)
from pyworker.errors import JsonDataException
from pyworker.handlers import DeclaredHandler
from pyworker.wire_check import Finding

__all__ = ["check_functions", "plain"]

SAY_WHAT = 'what is wrong with a payload is a JsonDataException({"field": "reason"}) or a ValueError'
Function = Callable[..., Any]


@dataclass(frozen=True)
class _Functions:
    """A handler's: what makes a payload (and what it is called), what parses a client's, what counts it."""

    make: Function | None = None
    name: str = ""
    parse: Function | None = None
    count: Function | None = None


async def check_functions(handler: Handler, author: AuthorCode, made: list[Any]) -> AsyncIterator[Finding]:
    """All of a handler's functions, with payloads as its own make them; these are added to ``made``."""
    functions = _functions(handler)
    if functions.make is None:
        return
    problem = await _make(functions, author, made)
    if problem is not None:
        made.clear()
        yield problem
        return
    payloads = [plain(payload) for payload in made]
    where = author.place_of(functions.make)
    same = same_payloads([as_json(payload) for payload in payloads], where, functions.name, is_benchmark=True)
    if same:
        yield same
    if functions.parse is not None:
        async for finding in _check_parser(functions.parse, payloads[0], author):
            yield finding
    if functions.count is not None:
        async for finding in _check_calculator(functions, payloads, author):
            yield finding


async def _make(functions: _Functions, author: AuthorCode, made: list[Any]) -> Finding | None:
    make: Any = functions.make
    where = author.place_of(make)
    for _ in range(SAMPLES):
        tried = await attempt_in_thread(make)
        if tried.error is not None:
            return it_raises(tried, author, where, functions.name, "give a payload: without one there is no benchmark")
        made.append(tried.value)
    bad = _unsendable([plain(payload) for payload in made])
    if bad:
        return fault("payload-json", where, f"{functions.name} gave what cannot be sent: {bad}", "give a dict of JSON")
    return None


def plain(payload: Any) -> Any:
    """A payload as a client sends it."""
    if dataclasses.is_dataclass(payload) and not isinstance(payload, type):
        return dataclasses.asdict(payload)
    return payload


def _functions(handler: Handler) -> _Functions:
    if isinstance(handler, EndpointHandler):
        kind = type(handler)
        base = cast("type[EndpointHandler[Any]]", EndpointHandler)
        is_own = kind.make_benchmark_payload is not base.make_benchmark_payload
        is_given = "make_benchmark_payload" in vars(handler)  # by a configuration
        make = handler.make_benchmark_payload if is_own or is_given else None
        return _Functions(make, f"{kind.__name__}.make_benchmark_payload")
    make, parse = handler.benchmark_payload, None
    if isinstance(handler, DeclaredHandler):
        parse, cls = handler.request_parser, handler.payload_class
        make = None if cls is not None and make == cls.for_test else make  # checked with its class
    name = f"what makes {handler.endpoint}'s benchmark payloads"
    return _Functions(make, name, parse, handler.workload_calculator)


def _unsendable(payloads: list[Any]) -> str | None:
    for payload in payloads:
        if not isinstance(payload, Mapping):
            return f"it is a {type(payload).__name__}"
        problem = json_problem(payload)
        if problem:
            return problem
    return None


async def _called(function: Function, payload: Mapping[str, Any]) -> Tried:
    return await attempt_in_loop(function, copy.deepcopy(payload))


async def _check_parser(parse: Function, payload: Mapping[str, Any], author: AuthorCode) -> AsyncIterator[Finding]:
    where, name = author.place_of(parse), getattr(parse, "__name__", "request_parser")
    good = await _called(parse, payload)
    if isinstance(good.error, ValueError | JsonDataException):
        return  # the benchmark sends what the model gets; a client may have to send something else
    if good.error is not None:
        place, what = author.place_of_error(good.error) or where, f"{name} raises {raised(good.error)}"
        rule = "parser" if isinstance(good.error, SystemExit) else "client-mistake"
        yield fault(rule, place, f"{what}: {come_of(good.error)}", SAY_WHAT)
        return
    if not isinstance(good.value, dict):
        gave = type(good.value).__name__
        yield fault("parser", where, f"{name} gave a {gave}", "return the payload as a dict")
        return
    for field in payload:
        for given in ({key: value for key, value in payload.items() if key != field}, {**payload, field: MISTAKEN}):
            error = (await _called(parse, given)).error
            if error is None or isinstance(error, ValueError | JsonDataException):
                continue
            what = f"{name} raises {raised(error)} when {field!r} is {'wrong' if field in given else 'missing'}"
            place = author.place_of_error(error) or where
            yield fault("client-mistake", place, f"{what}: {come_of(error)}", SAY_WHICH % field)
            return


async def _check_calculator(functions: _Functions, payloads: list[Any], author: AuthorCode) -> AsyncIterator[Finding]:
    count: Any = functions.count
    where, name = author.place_of(count), getattr(count, "__name__", "workload_calculator")
    name = "the workload calculator" if name == "<lambda>" else name
    wrong = list(judge_counts([await _called(count, payload) for payload in payloads], author, where, name))
    if wrong:
        yield wrong[0]
        return
    for field in payloads[0]:
        given = await _left_out(field, payloads[0], functions.parse)
        counted = Tried(error=ValueError()) if given is None else await _called(count, given)
        problem = None if counted.error else uncounted(counted.value, where, name, field)
        if problem:
            yield problem
            return
    tried = [await _called(count, given) for given in [payloads[0], *enlarged(payloads[0])]]
    steady = steady_workload([one.value for one in tried if one.error is None], where, name)
    if steady:
        yield steady


async def _left_out(field: str, payload: Mapping[str, Any], parse: Function | None) -> Mapping[str, Any] | None:
    """A payload without a field, as the calculator gets it; None when the parser does not take it."""
    given = {key: value for key, value in payload.items() if key != field}
    if parse is None:
        return given
    parsed = await _called(parse, given)
    return cast("dict[str, Any]", parsed.value) if isinstance(parsed.value, dict) else None
