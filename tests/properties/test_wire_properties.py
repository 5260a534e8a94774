"""Whatever comes over the wire, the answer is a message or an exception of ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyworker import wire
from pyworker.errors import InvalidJson, JsonDataException, PyWorkerError
from pyworker.fields import read_fields

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))
AUTH_DATA = st.builds(
    wire.AuthData,
    cost=st.integers(0, 2**60) | st.floats(0, 1e300, allow_nan=False),
    endpoint=TEXT,
    reqnum=st.integers(0, 2**62),
    url=TEXT,
    signature=TEXT,
    request_idx=st.integers(0, 2**62),
)
MESSAGES = [
    wire.WorkerStatus,
    wire.DeleteRequests,
    wire.RouteRequest,
    wire.SessionSpec,
    wire.SessionQuery,
    wire.AuthData,
]


@dataclass
class Payload:
    prompt: str
    tokens: int | None
    temperature: float = 1.0
    stop: list[str] = field(default_factory=list)


def nearly(valid: bytes) -> st.SearchStrategy[bytes]:
    """The bytes of a valid message with a piece of them replaced."""

    def spoil(start: int, end: int, piece: bytes) -> bytes:
        return valid[:start] + piece + valid[end:]

    places = st.integers(0, len(valid))
    pieces = st.binary(max_size=4) | st.sampled_from([b"null", b"NaN", b"1e999", b'"', rb"\ud800", b"{", b"]", b"-"])
    return st.builds(spoil, places, places, pieces)


VALID = json.dumps(
    {
        "auth_data": {"cost": 242, "endpoint": "é", "reqnum": 1, "url": "u", "signature": "s", "request_idx": 3},
        "payload": {"prompt": "x", "n": [1, 2.5, None, True]},
        "session_id": "sid",
    },
    ensure_ascii=False,
).encode()


@given(body=st.binary() | nearly(VALID))
@example(body=b"\xff")
def test_decoding_gives_an_object_or_invalid_json(body: bytes) -> None:
    try:
        assert isinstance(wire.decode_object(body), dict)
    except InvalidJson:
        return


@given(body=st.binary() | nearly(VALID))
def test_a_body_is_an_envelope_or_can_be_told_what_is_wrong(body: bytes) -> None:
    try:
        envelope = wire.parse_envelope(body)
    except InvalidJson:
        return
    if envelope is None:
        with pytest.raises(PyWorkerError):
            read_slowly(body)
    else:
        assert bytes(envelope.payload) in body
        assert wire.cost_is_valid(envelope.auth_data)


def read_slowly(body: bytes) -> None:
    """As the proxy does to find out what is wrong; raises as well when only a field is null or the payload missing."""
    message = wire.decode_object(body)
    wire.parse_auth_data(message.get("auth_data"))
    if "payload" not in message or not isinstance(message.get("session_id", ""), str | None):
        raise JsonDataException({"payload": "missing parameter"})
    if message["auth_data"].get("request_idx", 0) is None:
        raise JsonDataException({"request_idx": "null is read the slow way"})


@given(auth_data=AUTH_DATA, payload=JSON, session_id=st.none() | TEXT)
def test_an_envelope_is_read_as_it_was_written(auth_data: wire.AuthData, payload: Any, session_id: str | None) -> None:
    sent = wire.dump({"auth_data": auth_data, "payload": payload, "session_id": session_id})
    envelope = wire.parse_envelope(sent)
    assert envelope is not None
    assert (envelope.auth_data, envelope.session_id) == (auth_data, session_id)
    assert bytes(envelope.payload) == wire.dump(payload)
    assert type(envelope.auth_data.cost) is type(auth_data.cost)


@given(auth_data=AUTH_DATA)
def test_the_header_is_read_as_it_was_written(auth_data: wire.AuthData) -> None:
    assert wire.parse_auth_header(wire.dump_auth_header(auth_data)) == (auth_data, None)


def problems(read: Callable[[], Any]) -> dict[str, Any]:
    """What was named as wrong; nothing when it could be read."""
    try:
        read()
    except JsonDataException as error:
        return error.message
    return {}


@given(value=st.text())
def test_a_header_is_auth_data_or_named_as_wrong(value: str) -> None:
    assert set(problems(lambda: wire.parse_auth_header(value))) <= {"X-Auth-Data"}


@pytest.mark.parametrize("type_", MESSAGES)
@given(data=st.data())
def test_any_object_is_a_message_or_every_wrong_field_is_named(type_: type[Any], data: st.DataObject) -> None:
    names = st.sampled_from([*type_.__annotations__, "unknown"])
    message = data.draw(st.dictionaries(names, JSON))
    wrong = problems(lambda: wire.parse(wire.dump(message), type_))
    assert set(wrong) <= set(type_.__annotations__)
    if not wrong:
        read = wire.parse(wire.dump(message), type_)
        for name, value in message.items():
            assert name == "unknown" or value is None or isinstance(value, list | dict) or getattr(read, name) == value


@given(message=st.dictionaries(st.sampled_from(["prompt", "tokens", "temperature", "stop", "x"]), JSON))
def test_any_object_is_a_payload_or_every_wrong_field_is_named(message: dict[str, Any]) -> None:
    wrong = problems(lambda: Payload(**read_fields(message, Payload)))
    right = {name: value for name, value in message.items() if name not in wrong}
    assert read_fields({"prompt": "x", **right}, Payload)
    assert wrong or message["prompt"] is not None
