"""What an author's payloads do: made, sent as JSON, taken again, counted."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from pyworker.api import ApiPayload
from pyworker.checking.author import AuthorCode, Tried, attempt, attempt_in_thread
from pyworker.checking.findings import come_of, fault, raised, warning
from pyworker.checking.values import (
    as_json,
    enlarged,
    json_problem,
    same_payloads,
    steady_workload,
    uncounted,
    workload_problem,
)
from pyworker.errors import JsonDataException
from pyworker.wire_check import Finding

__all__ = ["MISTAKEN", "SAMPLES", "SAY_WHICH", "PayloadClass", "check_payload_class", "it_raises", "judge_counts"]

SAMPLES: Final = 4
MISTAKEN: Final = {"a": [1]}  # a value that no field has
# what a worker takes for the client's mistake when a parser raises it (``AuthoredRoute._by_author``)
_TAKEN_FOR_THE_CLIENTS: Final = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)


@dataclass(frozen=True)
class PayloadClass:
    """A payload class; ``is_benchmark``: the capacity is measured with its ``for_test``."""

    cls: type[ApiPayload]
    is_benchmark: bool


async def check_payload_class(payload: PayloadClass, author: AuthorCode) -> AsyncIterator[Finding]:
    """``for_test``, to JSON, ``from_json_msg``, ``count_workload``."""
    cls, where = payload.cls, author.place_of(payload.cls)
    name = f"{cls.__name__}.for_test"
    samples: list[ApiPayload] = []
    for _ in range(SAMPLES):
        made = await attempt_in_thread(cls.for_test)
        if made.error is not None:
            yield it_raises(made, author, where, name, "for_test must give a payload: it is what benchmarks send")
            return
        samples.append(made.value)
    texts: list[str] = []
    for finding in _check_samples(samples, author, where, texts):
        yield finding
    same = same_payloads(texts, author.place_of(cls.for_test), name, is_benchmark=payload.is_benchmark)
    if same:
        yield same


def _check_samples(samples: list[ApiPayload], author: AuthorCode, where: str, texts: list[str]) -> Iterator[Finding]:
    sent = attempt(dataclasses.asdict, cast("Any", samples[0]))
    if sent.error is not None:
        yield fault(
            "payload", where, f"for_test gave {type(samples[0]).__name__}, no dataclass", "add @dataclasses.dataclass"
        )
        return
    cls = type(samples[0])
    bad = json_problem(sent.value)
    if bad:
        yield fault("payload-json", where, f"{cls.__name__} holds what cannot be sent: {bad}", "use what JSON has")
        return
    texts.extend(as_json(dataclasses.asdict(cast("Any", sample))) for sample in samples)
    yield from _check_model_json(samples[0], author, where)
    bad_workloads = list(_check_workloads(samples, author))
    yield from bad_workloads
    taken = attempt(cls.from_json_msg, json.loads(texts[0]))
    if taken.error is not None:
        yield _not_taken_again(samples[0], taken, author)
        return
    yield from _check_fields_lost(samples[0], taken.value, author)
    yield from _check_missing_fields(cls, json.loads(texts[0]), author, counts=not bad_workloads)
    if not bad_workloads:
        yield from _check_steady(cls, json.loads(texts[0]), author)


def _check_model_json(sample: ApiPayload, author: AuthorCode, where: str) -> Iterator[Finding]:
    if getattr(type(sample), "generate_payload_multipart", None) is not None:
        return
    method = type(sample).generate_payload_json
    name = f"{type(sample).__name__}.generate_payload_json"
    made = attempt(sample.generate_payload_json)
    if made.error is not None:
        yield it_raises(made, author, where, name, "it must give the JSON object for the model")
    elif not isinstance(made.value, Mapping):
        gave = type(made.value).__name__
        yield fault("payload-json", author.place_of(method), f"{name} gave a {gave}", "return a dict")
    elif bad := json_problem(cast("Any", made.value)):
        yield fault("payload-json", author.place_of(method), f"{name}: {bad}", "give the model what JSON has")


def _check_workloads(samples: list[ApiPayload], author: AuthorCode) -> Iterator[Finding]:
    method = type(samples[0]).count_workload
    where, name = author.place_of(method), f"{type(samples[0]).__name__}.count_workload"
    yield from judge_counts([attempt(sample.count_workload) for sample in samples], author, where, name)


def judge_counts(counts: Sequence[Tried], author: AuthorCode, where: str, name: str) -> Iterator[Finding]:
    """The first thing that is wrong with these counts of test payloads."""
    for counted in counts:
        if counted.error is not None:
            yield it_raises(counted, author, where, name, "it is called for every request and must not fail")
            return
        problem = workload_problem(counted.value, where, name)
        if problem:
            yield problem
            return


def _not_taken_again(sample: ApiPayload, taken: Tried, author: AuthorCode) -> Finding:
    cls = type(sample)
    assert taken.error is not None
    where = author.place_of_error(taken.error) or author.place_of(cls.from_json_msg)
    what = f"{cls.__name__}.from_json_msg does not take what for_test made: {raised(taken.error)}"
    other = attempt(lambda: cls.from_json_msg(json.loads(as_json(sample.generate_payload_json()))))
    if other.error is None:
        remedy = "load tests send the dataclass's fields; from_json_msg takes generate_payload_json's names instead"
        return warning("round-trip", where, what, remedy)
    return fault("round-trip", where, what, "every field of the payload must be readable under its own name")


def _check_fields_lost(before: ApiPayload, after: Any, author: AuthorCode) -> Iterator[Finding]:
    was: dict[str, Any] = dataclasses.asdict(cast("Any", before))
    now: Any = attempt(dataclasses.asdict, after).value
    where, name = author.place_of(type(before).from_json_msg), f"{type(before).__name__}.from_json_msg"
    if not isinstance(now, dict):
        yield fault("round-trip", where, f"{name} gave a {type(after).__name__}", "return cls(...)")
        return
    now = cast("dict[str, Any]", now)
    lost = [field for field, value in was.items() if as_json_or_none(now.get(field)) != as_json_or_none(value)]
    if lost:
        what = f"what was sent and what {name} made of it differ in {', '.join(lost)}"
        yield warning("round-trip", where, what, "read every field that the payload has")


def as_json_or_none(value: Any) -> str | None:
    """JSON, where it is some."""
    return attempt(as_json, value).value


def _check_missing_fields(
    cls: type[ApiPayload], message: dict[str, Any], author: AuthorCode, *, counts: bool
) -> Iterator[Finding]:
    """A client may leave out or mistake any field; it must be told which. ``counts``: without it is counted, too."""
    name, unclear, miscounted = f"{cls.__name__}.from_json_msg", False, False
    for field in message:
        for given in ({key: value for key, value in message.items() if key != field}, {**message, field: MISTAKEN}):
            taken = attempt(cls.from_json_msg, copy.deepcopy(given))
            error = taken.error
            if error is None and counts and field not in given and not miscounted:
                for problem in _check_count_without(field, taken.value, author):
                    miscounted = True
                    yield problem
            if error is None or isinstance(error, JsonDataException):
                continue
            where = author.place_of_error(error) or author.place_of(cls.from_json_msg)
            how = f"{name} raises {raised(error)} when {field!r} is {'wrong' if field in given else 'missing'}"
            if not isinstance(error, _TAKEN_FOR_THE_CLIENTS):
                yield fault("client-mistake", where, f"{how}: {come_of(error)}", SAY_WHICH % field)
                return
            if not unclear and not isinstance(error, ValueError):
                unclear = True
                yield warning("client-mistake", where, f"{how}: the client is not told what to do", SAY_WHICH % field)


def _check_count_without(field: str, payload: Any, author: AuthorCode) -> Iterator[Finding]:
    kind = cast("Any", type(payload))
    counted = attempt(payload.count_workload)
    name, where = f"{kind.__name__}.count_workload", author.place_of(kind.count_workload)
    if counted.error is not None:
        when = f"{name} when a client leaves {field!r} out"
        yield it_raises(counted, author, where, when, "it is called for every request and must not fail")
    elif problem := uncounted(counted.value, where, name, field):
        yield problem


SAY_WHICH = 'raise JsonDataException({"%s": "missing parameter"}), or leave from_json_msg to the base class'


def _check_steady(cls: type[ApiPayload], message: dict[str, Any], author: AuthorCode) -> Iterator[Finding]:
    def count(given: dict[str, Any]) -> Any:
        return cls.from_json_msg(given).count_workload()

    counted = [attempt(count, given) for given in [message, *enlarged(message)]]
    steady = steady_workload(
        [one.value for one in counted if one.error is None],
        author.place_of(cls.count_workload),
        f"{cls.__name__}.count_workload",
    )
    if steady:
        yield steady


def it_raises(tried: Tried, author: AuthorCode, where: str, name: str, remedy: str) -> Finding:
    """The finding for a call of the author's code that raised."""
    assert tried.error is not None
    return fault("raises", author.place_of_error(tried.error) or where, f"{name} raises {raised(tried.error)}", remedy)
