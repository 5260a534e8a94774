"""Extension by subclass: a payload class for the model's API and a handler for each of its endpoints."""

from __future__ import annotations

import dataclasses
import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

from aiohttp import ClientResponse, web

from pyworker.errors import ConfigurationError, JsonDataException
from pyworker.fields import read_fields, read_part
from pyworker.wire import AuthData, parse_auth_data

__all__ = ["ApiPayload", "ApiPayload_T", "EndpointHandler", "LogAction", "RequestData", "request_data"]


class LogAction(Enum):
    """What a line of the model's log that contains a given string means."""

    ModelLoaded = 1
    ModelError = 2
    Info = 3


@dataclasses.dataclass
class ApiPayload(ABC):
    """What one request to the model holds: a dataclass whose fields are the fields of the request's JSON.

    A subclass may define ``generate_payload_multipart(self) -> dict | None`` besides; when it gives a dict, the
    model gets a multipart form instead of JSON (see ``worker.model.multipart``).
    """

    @classmethod
    @abstractmethod
    def for_test(cls) -> Self:
        """A payload for benchmark and load test, different each time so that no cache can answer it."""

    @abstractmethod
    def count_workload(self) -> float:
        """The work this payload means, in the worker's own unit (tokens, say); finite, not below 0."""

    def generate_payload_json(self) -> dict[str, Any]:
        """The JSON object that is sent to the model: by default all fields."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json_msg(cls, json_msg: dict[str, Any]) -> Self:
        """The payload that a client sent.

        By default every field is checked for presence and type; unknown fields are ignored. Raises
        JsonDataException ``{field: reason}`` with all that is wrong.
        """
        return cls(**read_fields(json_msg, cls))


ApiPayload_T = TypeVar("ApiPayload_T", bound=ApiPayload)

RequestData = tuple[AuthData, ApiPayload_T] | tuple[AuthData, ApiPayload_T, "str | None"]


@dataclasses.dataclass
class EndpointHandler(ABC, Generic[ApiPayload_T]):
    """One endpoint of the model server and how its answers reach the client.

    Attributes:
        benchmark_runs: rounds of the benchmark, when this handler is the Backend's benchmark_handler.
        benchmark_words: size of a benchmark prompt, for authors whose payloads have one.
        has_benchmark: False leaves the benchmark out.
        concurrency: requests at once in a round (1 when the handler is serial).
        allow_parallel_requests: None takes the Backend's.
        max_queue_time: s; a longer expected wait is answered 429. None takes the Backend's max_wait_time.
        remote_function: an async function that is called as ``f(**payload)`` instead of a model server.
        do_warmup_benchmark: one unmeasured request before the benchmark.
        methods: what ``Backend.routes()`` registers.
        max_concurrency: requests at once when neither 1 (serial) nor unlimited (parallel).
        is_remote_dispatch: ``call_remote_dispatch_function`` is called instead of a model server; a remote_function
            says so by itself.
    """

    benchmark_runs: int = 8
    benchmark_words: int = 100
    has_benchmark: bool = True
    concurrency: int = 10
    allow_parallel_requests: bool | None = None
    max_queue_time: float | None = None
    remote_function: Callable[..., Awaitable[Any]] | None = None
    do_warmup_benchmark: bool = True
    methods: tuple[str, ...] = ("POST",)
    max_concurrency: int | None = None
    is_remote_dispatch: bool = False

    parses_requests_itself: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        base = cast("type[EndpointHandler[Any]]", EndpointHandler)
        name = "get_data_from_request"
        cls.parses_requests_itself = inspect.getattr_static(cls, name) is not inspect.getattr_static(base, name)

    @property
    @abstractmethod
    def endpoint(self) -> str:
        """The route on the model's API, ``/generate`` for instance; ``{name}`` is filled from the worker's route."""

    @classmethod
    @abstractmethod
    def payload_cls(cls) -> type[ApiPayload_T]:
        """The payload class of this endpoint."""

    @abstractmethod
    async def generate_client_response(
        self, client_request: web.Request, model_response: ClientResponse
    ) -> web.Response | web.StreamResponse:
        """The answer to the client, made from the model's. A stream is prepared and written here."""

    @property
    def healthcheck_endpoint(self) -> str | None:
        """The model's health URL, as a path or absolute; None when it has none."""
        return None

    def make_benchmark_payload(self) -> ApiPayload_T:
        """A payload for the benchmark."""
        return self.payload_cls().for_test()

    def generate_payload_json(self, payload: ApiPayload_T) -> dict[str, Any]:
        """The JSON object for the model. Older workers override it here, newer ones on the payload."""
        return payload.generate_payload_json()

    @classmethod
    def get_data_from_request(cls, req_data: dict[str, Any]) -> RequestData[ApiPayload_T]:
        """Parse a request's JSON to ``(auth_data, payload)``, with the session id third when there is one.

        Raises JsonDataException naming all fields that are missing or wrong, in ``auth_data`` and in ``payload``.
        """
        return request_data(req_data, cls.payload_cls())

    @property
    def is_remote(self) -> bool:
        """Whether a function is called instead of a model server."""
        return self.is_remote_dispatch or self.remote_function is not None

    async def call_remote_dispatch_function(self, params: dict[str, Any]) -> Any:
        """Call ``remote_function`` with the payload's fields as keywords."""
        if self.remote_function is None:
            raise ConfigurationError(f"{type(self).__name__} has no remote_function to call")
        return await self.remote_function(**params)


def request_data(req_data: dict[str, Any], payload_cls: type[ApiPayload_T]) -> RequestData[ApiPayload_T]:
    """What ``EndpointHandler.get_data_from_request`` gives. Raises JsonDataException."""
    problems: dict[str, Any] = {}
    auth_data = read_part(req_data, "auth_data", parse_auth_data, problems)
    payload = read_part(req_data, "payload", payload_cls.from_json_msg, problems)
    session_id = req_data.get("session_id")
    if not isinstance(session_id, str | None):
        problems["session_id"] = "expected string"
    if problems or auth_data is None or payload is None:
        raise JsonDataException(problems)
    return (auth_data, payload) if session_id is None else (auth_data, payload, session_id)
