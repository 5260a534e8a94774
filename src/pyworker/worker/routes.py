"""A handler as the proxy drives it: read a request, count its workload, exchange it with the model."""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import yarl

from pyworker.errors import BadPath, InvalidJson, JsonDataException
from pyworker.fields import MISSING_PARAMETER, read_part
from pyworker.handlers import DEFAULT_WORKLOAD
from pyworker.wire import AuthData, decode_object, parse_auth_data
from pyworker.worker.author_faults import AUTHOR_ERRORS, Faults
from pyworker.worker.core.benchmark import Plan
from pyworker.worker.core.estimates import Estimates
from pyworker.worker.core.ledger import Lane, valid_workload
from pyworker.worker.inbound.incoming import Incoming
from pyworker.worker.model.connection import RawHeaders

__all__ = ["JSON_HEADERS", "UNCOUNTED", "Call", "Probe", "ReadBody", "Route", "explain_envelope", "payload_object"]

UNCOUNTED: Final = object()  # what an author's calculator that failed, and was told of, has given
JSON_HEADERS: RawHeaders = ((b"Content-Type", b"application/json"),)
_BOOKED_INSTEAD = f"{DEFAULT_WORKLOAD:g} is booked instead"
_PLACE = re.compile(r"{(\w+)(?::[^{}]*)?}")


def _nothing() -> None:
    """Nobody wants to know."""


class Call(msgspec.Struct):
    """One request as its handler understood it. ``auth_data`` is None where it was checked before the body.

    ``target`` is the path on the model server; ``on_head`` is called when the head of its answer is there.
    ``counted`` is what the author's calculator gave, if it was asked ahead.
    ``estimate`` is its workload as counted before it was sent, ``answered`` as its answer shows it, if that says so.
    """

    auth_data: AuthData | None
    session_id: str | None
    payload: Any
    target: str = ""
    on_head: Callable[[], None] = _nothing
    counted: Any = msgspec.UNSET
    estimate: float = 0.0
    answered: float | None = None

    def take_payload(self) -> Any:
        """The payload, which may be large: the call lets go of it, so that who sends it is the last to hold it."""
        payload, self.payload = self.payload, None
        return payload


@dataclass(frozen=True, slots=True)
class Probe:
    """One request of the benchmark: its workload, and why it failed ("" when it was answered with 2xx)."""

    workload: float
    failure: str = ""


class ReadBody(Protocol):
    """The body of a request that has been let in."""

    def fits(self) -> bool:
        """Whether it is known to be small enough to be held."""
        ...

    async def __call__(self) -> bytes | memoryview:
        """All of it. Raises BodyTooLarge, SlowBody."""
        ...


class Route(ABC):
    """A handler, its lane, and its limit on waiting (s; None: no limit)."""

    teaches_capacity = True  # the time that its requests take says how much the model can do

    def __init__(self, endpoint: str, lane: Lane, max_wait_s: float | None) -> None:
        self.endpoint = endpoint
        self.lane = lane
        self.max_wait_s = max_wait_s
        self.bad_workloads = 0
        self.faults = Faults()
        self.estimates = Estimates()
        self._places = _PLACE.findall(endpoint)

    def proof(self, request: Incoming) -> str | None:
        """What a request that is no envelope has to show; None when it shows nothing."""
        return request.header("X-Auth-Data")

    @abstractmethod
    def parse_envelope(self, body: bytes | memoryview) -> Call:
        """A JSON envelope. Raises JsonDataException, InvalidJson, HandlerFailed."""

    @abstractmethod
    async def read_plain(self, request: Incoming, read: ReadBody) -> Call:
        """A request that was let in by its header; ``await read()`` gives its body."""

    @property
    def prepares(self) -> bool:
        """Whether requests go through ``prepare`` now."""
        return False

    async def prepare(self, call: Call) -> None:  # noqa: B027 - nothing, unless ``prepares``
        """What the author's code does with a request that was let in, before it is admitted.

        Raises JsonDataException and InvalidJson for what is the client's fault, HandlerFailed.
        """

    def parse_plain(self, body: bytes | memoryview) -> Call | None:  # noqa: ARG002
        """A body that is a payload and nothing around it; None when it is none. Asked only where nobody is checked."""
        return None

    @abstractmethod
    def count_workload(self, call: Call) -> Any:
        """The author's count, which may be anything; UNCOUNTED when that failed."""

    @property
    def counted_by(self) -> str:
        """What counts, as its author wrote it."""
        return "workload"

    @property
    def shows_request(self) -> bool:
        """Whether its author sees the ``web.Request``, and may read the body once more."""
        return False

    @abstractmethod
    async def exchange(self, request: Incoming, call: Call) -> bool:
        """Send it to the model and its answer to the client. True when the model did its work.

        Raises ModelUnreachable, ModelFailed, HandlerFailed.
        """

    @abstractmethod
    async def probe(self) -> Probe:
        """Send one benchmark payload to the model. Raises BenchmarkFailed when the author's code gives none."""

    @property
    @abstractmethod
    def plan(self) -> Plan | None:
        """How it is benchmarked; None when it is not."""

    @property
    @abstractmethod
    def sources(self) -> list[object]:
        """The handler and the classes whose source decides what the benchmark measures."""

    def at_once(self, concurrency: int) -> int:
        """Requests at once that its lane lets through."""
        return concurrency if self.lane.slots is None else min(concurrency, self.lane.slots)

    def workload(self, call: Call) -> float:
        """The workload to book: the estimate, and what such estimates have turned out to be."""
        call.estimate = self._estimate(call)
        return self.estimates.booked(call.estimate)

    def _estimate(self, call: Call) -> float:
        """The author's count, or the default when that is no finite number from 0 up."""
        try:
            workload: Any = self.count_workload(call)
        except AUTHOR_ERRORS as error:
            workload = self.not_counted(error)
        if valid_workload(workload):
            return float(workload)
        if workload is not UNCOUNTED:
            self.faults.tell_value(f"{self.counted_by} of {self.endpoint}", workload, _BOOKED_INSTEAD)
        if inspect.iscoroutine(workload):
            workload.close()
        self.bad_workloads += 1
        return DEFAULT_WORKLOAD

    def not_counted(self, error: BaseException) -> object:
        """Tell of it. UNCOUNTED."""
        self.faults.tell(f"{self.counted_by} of {self.endpoint}", error, _BOOKED_INSTEAD)
        return UNCOUNTED

    def answered_workload(self, count: Callable[[bytes], float | None], last_bytes: bytes) -> float | None:
        """What the author's ``count`` makes of an answer; None when it cannot say, or says no number from 0 up."""
        what, then = f"answer_workload of {self.endpoint}", "the estimate stands"
        try:
            workload: Any = count(last_bytes)
        except AUTHOR_ERRORS as error:
            self.faults.tell(what, error, then)
        else:
            if workload is None:
                return None
            if valid_workload(workload):
                return float(workload)
            self.faults.tell_value(what, workload, then)
        self.bad_workloads += 1
        return None

    def target(self, request: Incoming) -> str:
        """The path on the model server, its ``{places}`` filled from the request's. Raises BadPath."""
        if not self._places:
            return self.endpoint

        def fill(place: re.Match[str]) -> str:
            value = request.places.get(place.group(1), "")
            if not value or value in {".", ".."} or any(c in "/\\" or ord(c) < 32 for c in value):
                raise BadPath()
            return yarl.URL.build(path="/" + value).raw_path[1:]

        return _PLACE.sub(fill, self.endpoint)


def payload_object(raw: msgspec.Raw) -> dict[str, Any]:
    """The payload of an envelope that is JSON. Raises JsonDataException when it is no object."""
    try:
        return decode_object(memoryview(raw))
    except InvalidJson as error:
        raise JsonDataException({"payload": str(error).removeprefix("invalid JSON: ")}) from None


def explain_envelope(message: dict[str, Any]) -> tuple[AuthData, Any, str | None]:
    """An envelope that did not parse at once: what is wrong with it, or what a null stood for."""
    problems: dict[str, Any] = {}
    auth_data = read_part(message, "auth_data", parse_auth_data, problems)
    if message.get("payload") is None:
        problems["payload"] = MISSING_PARAMETER
    session_id = message.get("session_id")
    if not isinstance(session_id, str | None):
        problems["session_id"] = "expected string"
    if problems or auth_data is None:
        raise JsonDataException(problems)
    return auth_data, message["payload"], session_id
