"""Extension by subclass: what a payload and a handler do by themselves, and the forms authors override."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import pytest
from aiohttp import ClientResponse, web

from pyworker import ApiPayload, AuthData, EndpointHandler, JsonDataException, LogAction
from pyworker.errors import ConfigurationError

AUTH: dict[str, Any] = {"cost": 30, "endpoint": "e", "reqnum": 5, "url": "http://w", "signature": "s"}


@dataclasses.dataclass
class Prompt(ApiPayload):
    """As the guide's."""

    prompt: str
    max_response_tokens: int | None = None
    temperature: float = 0.5
    tags: list[str] = dataclasses.field(default_factory=list[str])

    @classmethod
    def for_test(cls) -> Self:
        return cls(prompt="a test", max_response_tokens=300)

    def count_workload(self) -> float:
        return float(len(self.prompt))


@dataclasses.dataclass
class Generate(EndpointHandler[Prompt]):
    """As the guide's."""

    @property
    def endpoint(self) -> str:
        return "/generate"

    @classmethod
    def payload_cls(cls) -> type[Prompt]:
        return Prompt

    async def generate_client_response(
        self,
        client_request: web.Request,  # noqa: ARG002 - the contract
        model_response: ClientResponse,  # noqa: ARG002
    ) -> web.Response | web.StreamResponse:
        return web.Response()


# --- payloads -------------------------------------------------------------------------------------


def test_a_payload_is_read_from_its_fields() -> None:
    message = {"prompt": "hi", "max_response_tokens": 3, "temperature": 1, "tags": ["a"], "unknown": object()}
    payload = Prompt.from_json_msg(message)
    assert payload == Prompt("hi", 3, 1.0, ["a"])


def test_null_is_not_given() -> None:
    assert Prompt.from_json_msg({"prompt": "hi", "temperature": None, "tags": None}) == Prompt("hi")


def test_all_that_is_wrong_with_a_payload_is_said_at_once() -> None:
    with pytest.raises(JsonDataException) as wrong:
        Prompt.from_json_msg({"max_response_tokens": "many", "temperature": True, "tags": ["a", 1]})
    assert wrong.value.message["prompt"] == "missing parameter"
    assert set(wrong.value.message) == {"prompt", "max_response_tokens", "temperature", "tags"}
    assert wrong.value.status == 422


def test_a_payload_sends_all_its_fields_unless_it_says_otherwise() -> None:
    assert Prompt("hi").generate_payload_json() == {
        "prompt": "hi",
        "max_response_tokens": None,
        "temperature": 0.5,
        "tags": [],
    }


def test_payload_and_handler_leave_nothing_abstract_out() -> None:
    for abstract in (ApiPayload, EndpointHandler):
        with pytest.raises(TypeError, match="abstract"):
            abstract()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]


# --- handlers -------------------------------------------------------------------------------------


def test_a_handlers_fields_have_the_guides_defaults_and_take_keywords() -> None:
    handler = Generate()
    assert (handler.benchmark_runs, handler.benchmark_words, handler.has_benchmark) == (8, 100, True)
    assert (handler.concurrency, handler.allow_parallel_requests, handler.max_queue_time) == (10, None, None)
    assert (handler.healthcheck_endpoint, handler.methods, handler.max_concurrency) == (None, ("POST",), None)
    assert Generate(benchmark_runs=3, benchmark_words=256).benchmark_words == 256


def test_the_benchmark_payload_is_the_test_payload_unless_overridden() -> None:
    assert Generate().make_benchmark_payload() == Prompt("a test", 300)


def test_log_actions_are_the_guides() -> None:
    assert [action.name for action in LogAction] == ["ModelLoaded", "ModelError", "Info"]


async def test_a_remote_function_gets_the_fields_as_keywords() -> None:
    async def double(number: int) -> int:
        return 2 * number

    assert await Generate(remote_function=double).call_remote_dispatch_function({"number": 4}) == 8
    with pytest.raises(ConfigurationError, match="Generate has no remote_function"):
        await Generate().call_remote_dispatch_function({})


# --- get_data_from_request ------------------------------------------------------------------------


def test_a_request_is_its_auth_data_and_its_payload() -> None:
    auth_data, payload = Generate().get_data_from_request({"auth_data": AUTH, "payload": {"prompt": "hi"}})[:2]
    assert auth_data == AuthData(**AUTH)
    assert payload == Prompt("hi")


def test_in_a_session_its_id_comes_third() -> None:
    message: dict[str, Any] = {"auth_data": AUTH, "payload": {"prompt": "hi"}, "session_id": "s1"}
    assert Generate().get_data_from_request(message)[2:] == ("s1",)
    message["session_id"] = None
    assert len(Generate().get_data_from_request(message)) == 2


def test_all_that_is_wrong_with_a_request_is_said_at_once() -> None:
    auth_data = {name: value for name, value in AUTH.items() if name != "reqnum"} | {"cost": "x"}
    with pytest.raises(JsonDataException) as wrong:
        Generate().get_data_from_request({"auth_data": auth_data, "payload": {}, "session_id": 5})
    assert wrong.value.message == {
        "auth_data": {"reqnum": "missing parameter", "cost": "expected integer | number, got string"},
        "payload": {"prompt": "missing parameter"},
        "session_id": "expected string",
    }


@pytest.mark.parametrize(
    ("message", "problems"),
    [
        ({}, {"auth_data": "missing parameter", "payload": "missing parameter"}),
        ({"auth_data": None, "payload": None}, {"auth_data": "missing parameter", "payload": "missing parameter"}),
        ({"auth_data": [], "payload": "hi"}, {"auth_data": "expected object", "payload": "expected object"}),
    ],
)
def test_missing_parts_are_named(message: dict[str, Any], problems: dict[str, str]) -> None:
    with pytest.raises(JsonDataException) as wrong:
        Generate().get_data_from_request(message)
    assert wrong.value.message == problems


def test_whether_an_author_parses_requests_himself_is_known_of_each_class() -> None:
    class Own(Generate):
        def get_data_from_request(  # pyright: ignore[reportIncompatibleMethodOverride] - older workers have it so
            self, req_data: dict[str, Any]
        ) -> tuple[AuthData, Prompt]:
            return AuthData(**req_data["auth_data"]), Prompt(req_data["payload"]["text"])

    class Heir(Own):
        pass

    assert [cls.parses_requests_itself for cls in (Generate, Own, Heir)] == [False, True, True]


def test_requests_may_be_read_by_a_class_method_that_asks_its_parent() -> None:
    """As a class method, by name, and as a method of the object: all of them are about."""
    message = {"auth_data": AUTH, "payload": {"prompt": "hi"}}

    class ByClass(Generate):
        @classmethod
        def get_data_from_request(cls, req_data: dict[str, Any]) -> tuple[AuthData, Prompt]:
            auth_data, payload = super().get_data_from_request(req_data)[:2]
            return auth_data, Prompt(payload.prompt.upper())

    class ByName(Generate):
        @classmethod
        def get_data_from_request(cls, req_data: dict[str, Any]) -> Any:
            return EndpointHandler.get_data_from_request.__func__(cls, req_data)  # type: ignore[attr-defined]

    class ByObject(Generate):
        def get_data_from_request(self, req_data: dict[str, Any]) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return super().get_data_from_request(req_data)

    class Derived(ByClass):
        pass

    for handler in (ByClass(), ByName(), ByObject(), Derived()):
        assert handler.get_data_from_request(message)[1].prompt.lower() == "hi"
        assert handler.parses_requests_itself
    assert not Generate().parses_requests_itself
    assert ByClass.get_data_from_request(message)[1].prompt == "HI"
