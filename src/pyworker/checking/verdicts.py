"""What a client saw of each act, judged. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pyworker.checking.findings import fault, raised, warning
from pyworker.wire_check import Finding

__all__ = ["GOOD_ACTS", "Seen", "Subject", "judge", "judge_count", "left_open"]

GOOD_ACTS = frozenset({"json", "gzip", "stream"})
GZIP = b"\x1f\x8b"

# what comes of reading an answer that has not got what is read
_OF_MADE_UP_TYPES = re.compile(r"^'(str|dict|list|NoneType|int|float)' object has no attribute")
_OF_MADE_UP_SHAPES = re.compile(r"indices must be|not subscriptable|not iterable|NoneType|unsupported operand|argument")


@dataclass(frozen=True)
class Subject:
    """A handler at its route; ``streams``: its name or its payload says that it streams.

    ``has_payload``: what it is asked with is a payload of its own.
    """

    name: str
    route: str
    where: str
    streams: bool = False
    has_payload: bool = True


@dataclass(frozen=True)
class Seen:
    """What a client saw of one act. ``status`` None: no answer at all; ``asked``: requests to the model.

    ``error`` is what the handler raised, ``error_at`` where; ``miscount`` is what counting the workload raised.
    """

    act: str
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    complete: bool = True
    hung: bool = False
    held_back: bool = False
    asked: int = 1
    error: Exception | None = None
    error_at: str = ""
    miscount: Exception | None = None
    miscount_at: str = ""

    @property
    def ok(self) -> bool:
        """Whether the client takes it for a good and whole answer."""
        return self.status is not None and self.status < 400 and self.complete


def judge(subject: Subject, seen: Seen, *, made_up: bool) -> Iterator[Finding]:
    """The faults in one exchange. ``made_up``: nobody said what the model's answer looks like."""
    where = seen.error_at or f"{subject.where} ({subject.route})"
    if seen.hung and _goes_on_asking(seen):
        return
    if seen.hung:
        what = f"{subject.name} gives no answer {_WHEN[seen.act]}"
        yield fault("hangs", where, what, "end what waits when the model ends: no loop without an end, no bare except")
    elif seen.act in GOOD_ACTS:
        yield from _judge_answer(subject, seen, where, made_up=made_up)
    elif seen.ok:
        yield fault(_RULES[seen.act], where, f"{subject.name} {_TURNED[seen.act]}", _REMEDIES[seen.act])
    elif seen.act == "status 422" and seen.status is not None and seen.status >= 500:
        what = f"{subject.name} makes a {seen.status} of the model's 422: clients try again for ever"
        yield warning("model-error", where, what, _REMEDIES["status 422"])


def judge_count(subject: Subject, seen: Seen) -> Iterator[Finding]:
    """Whether a workload can be counted of what a client sends."""
    if seen.miscount is not None and not _wants_another(subject, seen):
        what = f"the workload of a request to {subject.route} cannot be counted: {raised(seen.miscount)}"
        where = seen.miscount_at or f"{subject.where} ({subject.route})"
        yield fault("workload", where, f"{what}; a default is booked instead", _COUNT_WHAT_COMES)


def _wants_another(subject: Subject, seen: Seen) -> bool:
    return not subject.has_payload and isinstance(seen.miscount, LookupError | TypeError | ValueError | AttributeError)


def left_open(subject: Subject, seen: Seen, *, made_up: bool) -> str | None:
    """What could not be seen: the handler wants something of the model that nobody made up."""
    if seen.miscount is not None and _wants_another(subject, seen):
        return f"{subject.route}'s workload: it is counted of another payload than is known ({raised(seen.miscount)})"
    if seen.hung and _goes_on_asking(seen):
        return f"{subject.name}'s answer {_WHEN[seen.act]}: it goes on asking the model"
    if seen.act != "json" or seen.ok or seen.hung or not made_up or not (seen.error is None or _looked_for(seen)):
        return None
    why = raised(seen.error) if seen.error else f"it answers {seen.status}"
    return f"{subject.name}'s good answer: it wants a certain answer of the model ({why}); give one with --answer FILE"


def _goes_on_asking(seen: Seen) -> bool:
    """Whether the handler asks the model for more, or tries again: that may come to its end."""
    return seen.asked > 1


def _judge_answer(subject: Subject, seen: Seen, where: str, *, made_up: bool) -> Iterator[Finding]:
    if seen.error is not None:
        if seen.act == "json":
            yield from _judge_error(subject, seen.error, where, looked_for=made_up and _looked_for(seen))
    elif seen.status is None or not seen.complete:
        if seen.act == "gzip":
            yield fault(
                "encoding", where, f"{subject.name}'s answer cannot be read when the model compresses", _HEADERS
            )
        elif seen.act == "json":
            what = f"{subject.name}'s answer to a JSON answer breaks off"
            yield fault("broken-answer", where, what, "send as many bytes as Content-Length says, and write_eof()")
    elif seen.act == "gzip" and seen.ok and _is_mislabelled(seen):
        what = f"{subject.name}'s Content-Encoding does not fit the body when the model compresses"
        yield fault("encoding", where, what, _HEADERS)
    if seen.act == "stream" and seen.ok and seen.held_back and subject.streams:
        what = f"{subject.name} holds the stream back: the first piece reaches the client after the model's last"
        remedy = "write each piece as it comes: `async for piece in model_response.content.iter_any()`"
        yield fault("held-back", where, what, remedy)


def _judge_error(subject: Subject, error: Exception, where: str, *, looked_for: bool) -> Iterator[Finding]:
    if _gave_nothing(error):
        what = f"{subject.name} returns None instead of a response"
        yield fault("raises", where, what, "return the web.Response, or the StreamResponse that was written")
    elif not looked_for:
        yield fault("raises", where, f"{subject.name} raises {raised(error)}", "correct this line")


def _is_mislabelled(seen: Seen) -> bool:
    encoding = next((value for name, value in seen.headers.items() if name.lower() == "content-encoding"), "")
    return encoding.lower() in {"gzip", "x-gzip"} and not seen.body.startswith(GZIP)


def _looked_for(seen: Seen) -> bool:
    """Whether the author's code may just not have found what the real model would have said."""
    error = seen.error
    if not seen.error_at:
        return False
    if isinstance(error, AttributeError):
        return bool(_OF_MADE_UP_TYPES.search(str(error)))
    if isinstance(error, TypeError):
        return bool(_OF_MADE_UP_SHAPES.search(str(error))) and "keyword argument" not in str(error)
    return isinstance(error, LookupError | ValueError)


def _gave_nothing(error: Exception) -> bool:
    return isinstance(error, AttributeError) and "'NoneType' object has no attribute 'status'" in str(error)


_WHEN = {
    "json": "to a JSON answer of the model",
    "gzip": "when the model compresses its answer",
    "stream": "when the model streams",
    "status 422": "when the model answers with an error (422)",
    "status 500": "when the model answers with an error (500)",
    "no answer": "when the model closes the connection without one",
    "broken off": "when the model breaks off in its answer",
}
_RULES = {
    "status 422": "model-error",
    "status 500": "model-error",
    "no answer": "model-drops",
    "broken off": "model-drops",
}
_TURNED = {
    "status 422": "answers 2xx where the model answered 422",
    "status 500": "answers 2xx where the model answered 500",
    "no answer": "answers 2xx where the model closed the connection",
    "broken off": "ends its answer as if it were whole where the model broke off",
}
_WITH_STATUS = "pass the status on: web.Response(status=model_response.status, ...)"
_LET_THROUGH = "let aiohttp.ClientError through: the worker then cuts the client's answer off too"
_REMEDIES = {
    "status 422": _WITH_STATUS,
    "status 500": _WITH_STATUS,
    "no answer": _LET_THROUGH,
    "broken off": _LET_THROUGH,
}
_COUNT_WHAT_COMES = "it gets what request_parser returns; count that, and do without what clients may leave out"
_HEADERS = "do not copy the model's headers: what you read is decompressed; content_type=... is enough"
