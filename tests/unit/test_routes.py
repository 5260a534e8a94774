"""Routes: what a handler of either kind makes of a request, before anything is sent."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pyworker import AuthData, EndpointHandler, JsonDataException
from pyworker.errors import BadPath, HandlerFailed, InvalidJson, PyWorkerError
from pyworker.handlers import PassThroughHandler
from pyworker.worker.authored import AuthoredRoute
from pyworker.worker.core.ledger import Lane
from pyworker.worker.inbound.incoming import Incoming
from pyworker.worker.model.upstream import ModelServer
from pyworker.worker.pass_through import PassThroughRoute
from pyworker.worker.routes import Call, Route
from tests.support.workers.handlers import Generate, Prompt, pass_generate, payload

AUTH: dict[str, Any] = {"cost": 30, "endpoint": "e", "reqnum": 5, "url": "http://w", "signature": "s", "request_idx": 7}
AUTH_DATA = AuthData(**AUTH)


def authored(handler: EndpointHandler[Any] | None = None) -> AuthoredRoute:
    return AuthoredRoute(handler or Generate(), Lane("parallel", None), None, ModelServer("http://127.0.0.1:1"))


def passed(handler: PassThroughHandler | None = None) -> PassThroughRoute:
    model = ModelServer("http://127.0.0.1:1")
    return PassThroughRoute(handler or pass_generate(), Lane("parallel", None), None, model)


def envelope(**parts: Any) -> bytes:
    return json.dumps({"auth_data": AUTH, "payload": payload(), **parts}).encode()


@pytest.fixture(params=[authored, passed], ids=["authored", "passed through"])
def route(request: pytest.FixtureRequest) -> Route:
    return request.param()


# --- envelopes ------------------------------------------------------------------------------------


def test_an_envelope_is_read(route: Route) -> None:
    call = route.parse_envelope(envelope(session_id="s1", unknown=1))
    assert (call.auth_data, call.session_id) == (AUTH_DATA, "s1")
    if isinstance(route, AuthoredRoute):
        assert call.payload == Prompt("Why?", 10)
    else:
        assert bytes(call.payload) == json.dumps(payload()).encode()


def test_what_passes_through_keeps_every_byte() -> None:
    raw = b'{ "prompt":"\\u0041",  "big": 12345678901234567890123, "e":1E+2 }'
    body = b'{"payload": ' + raw + b', "auth_data": ' + json.dumps(AUTH).encode() + b"}"
    assert bytes(passed().parse_envelope(body).payload) == raw


def test_a_session_id_of_null_is_none(route: Route) -> None:
    assert route.parse_envelope(envelope(session_id=None)).session_id is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"a": NaN}', b"{" * 5000])
def test_what_is_no_json_object_is_refused(route: Route, body: bytes) -> None:
    with pytest.raises(PyWorkerError) as refused:
        route.parse_envelope(body)
    assert refused.value.status == 422


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"auth_data": None}, {"auth_data"}),
        ({"auth_data": []}, {"auth_data"}),
        ({"auth_data": {}}, {"auth_data"}),
        ({"payload": None}, {"payload"}),
        ({"session_id": 5}, {"session_id"}),
        ({"auth_data": {**AUTH, "cost": -1}}, {"auth_data"}),
        ({"auth_data": {**AUTH, "reqnum": "5"}, "payload": None}, {"auth_data", "payload"}),
    ],
)
def test_what_is_wrong_with_an_envelope_is_named(route: Route, parts: dict[str, Any], named: set[str]) -> None:
    with pytest.raises(JsonDataException) as wrong:
        route.parse_envelope(envelope(**parts))
    assert set(wrong.value.message) == named


def test_a_payload_that_is_wrong_is_named_within_the_envelope() -> None:
    with pytest.raises(JsonDataException) as wrong:
        authored().parse_envelope(envelope(payload={"max_response_tokens": "many"}))
    assert wrong.value.message == {
        "payload": {"prompt": "missing parameter", "max_response_tokens": "expected integer, got string"}
    }


# --- authors who parse requests themselves --------------------------------------------------------


def parsed_by(parse: Callable[[dict[str, Any]], Any]) -> AuthoredRoute:
    """The route of a handler whose author wrote get_data_from_request."""

    @dataclasses.dataclass
    class Own(Generate):
        def get_data_from_request(self, req_data: dict[str, Any]) -> Any:
            return parse(req_data)

    return authored(Own())


def test_an_author_may_give_two_parts_and_the_session_is_the_envelopes() -> None:
    route = parsed_by(lambda data: (AUTH_DATA, Prompt(data["payload"]["text"])))
    call = route.parse_envelope(envelope(payload={"text": "hi"}))
    assert (call.auth_data, call.payload, call.session_id) == (AUTH_DATA, Prompt("hi"), None)
    assert route.parse_envelope(envelope(payload={"text": "hi"}, session_id="s1")).session_id == "s1"


def test_an_author_may_give_three_parts() -> None:
    route = parsed_by(lambda data: (AUTH_DATA, Prompt("hi"), data["payload"]["session"]))
    assert route.parse_envelope(envelope(payload={"session": "s2"})).session_id == "s2"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (JsonDataException({"payload": {"text": "too short"}}), 422),
        (ValueError("the text is too short"), 422),
        (KeyError("text"), 422),
        (TypeError("no text"), 422),
        (ZeroDivisionError(), 422),
        (RuntimeError("ours"), 500),
        (OSError("ours"), 500),
    ],
)
def test_how_an_authors_parser_fails_decides_whose_fault_it_is(error: Exception, status: int) -> None:
    def fail(_data: dict[str, Any]) -> Any:
        raise error

    with pytest.raises(PyWorkerError) as raised:
        parsed_by(fail).parse_envelope(envelope())
    assert raised.value.status == status
    assert isinstance(raised.value, HandlerFailed if status == 500 else JsonDataException)
    assert raised.value.body()


@pytest.mark.parametrize("parts", [{"auth_data": "x"}, {"payload": []}, {"session_id": 5}])
def test_an_authors_parser_gets_an_envelope_whose_parts_are_there(parts: dict[str, Any]) -> None:
    def must_not_be_called(_data: dict[str, Any]) -> Any:
        raise AssertionError

    with pytest.raises(JsonDataException) as wrong:
        parsed_by(must_not_be_called).parse_envelope(envelope(**parts))
    assert set(wrong.value.message) == set(parts)


# --- workload -------------------------------------------------------------------------------------


def counted(workload: Any) -> float:
    """What is booked when the author's calculator gives this, or raises it."""

    def calculate(_payload: dict[str, Any]) -> Any:
        if isinstance(workload, Exception):
            raise workload
        return workload

    handler = PassThroughHandler("/generate", workload_calculator=cast("Callable[[dict[str, Any]], float]", calculate))
    route = passed(handler)
    booked = route.workload(route.parse_envelope(envelope()))
    assert route.bad_workloads == (booked == 100.0)
    return booked


@pytest.mark.parametrize("workload", [0, 1, 2.5, 1e12])
def test_the_authors_count_is_booked(workload: float) -> None:
    assert counted(workload) == workload


@pytest.mark.parametrize(
    "workload",
    [math.nan, math.inf, -1, "12", None, True, 1e300, 10**400, RuntimeError(), KeyError("x"), RecursionError()],
)
def test_a_count_that_is_none_is_replaced_by_the_default(workload: Any) -> None:
    assert counted(workload) == 100.0


def test_without_a_calculator_each_request_counts_the_same() -> None:
    route = passed(PassThroughHandler("/generate", workload=7.0))
    assert route.workload(route.parse_envelope(envelope())) == 7.0
    assert route.workload(Call(None, None, None)) == 7.0


def test_an_authored_payload_counts_itself() -> None:
    route = authored()
    assert route.workload(route.parse_envelope(envelope(payload=payload(tokens=33)))) == 33.0


# --- places in a path -----------------------------------------------------------------------------


def target(endpoint: str, places: Mapping[str, str]) -> str:
    return passed(PassThroughHandler(endpoint)).target(cast("Incoming", SimpleNamespace(places=places)))


def test_a_path_without_places_is_what_it_is() -> None:
    assert target("/v1/chat", {}) == "/v1/chat"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("abc", "/jobs/abc/result"),
        ("a b", "/jobs/a%20b/result"),
        ("grün", "/jobs/gr%C3%BCn/result"),
        ("..a", "/jobs/..a/result"),
    ],
)
def test_a_place_is_filled_from_the_request(value: str, path: str) -> None:
    assert target("/jobs/{id}/result", {"id": value}) == path


def test_a_place_may_have_a_pattern() -> None:
    assert target(r"/jobs/{id:\d+}", {"id": "12"}) == "/jobs/12"


@pytest.mark.parametrize("value", ["", ".", "..", "a/b", "a\\b", "../..", "a\nb", "a\0b", "/"])
def test_a_place_leads_nowhere_else(value: str) -> None:
    with pytest.raises(BadPath):
        target("/jobs/{id}", {"id": value})


@pytest.mark.parametrize("value", ["a?b", "a#b", "a%2fb", "a;b", "a&b=c"])
def test_a_place_stays_one_part_of_the_path(value: str) -> None:
    path = target("/jobs/{id}", {"id": value})
    assert path.startswith("/jobs/")
    assert path.count("/") == 2
    assert not {"?", "#"} & set(path)
    assert "%2f" not in path.lower().replace("%252f", "")


def test_invalid_json_says_so() -> None:
    with pytest.raises(InvalidJson, match="invalid JSON"):
        authored().parse_envelope(b"{")
