"""What crosses a process: read leniently where the wire says so, and never with another exception than ours."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from pyworker import wire
from pyworker.errors import InvalidJson, JsonDataException
from pyworker.wire import AuthData

AUTH = {"cost": 242, "endpoint": "e", "reqnum": 1, "url": "http://x", "signature": "s", "request_idx": 5}
AUTH_DATA = AuthData(**AUTH)

BROKEN = {
    "nothing": b"",
    "cut short": b'{"a": [1, 2',
    "something after it": b"{} x",
    "a BOM": b"\xef\xbb\xbf{}",
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": Infinity}',
    "a number out of range": b'{"a": 1e999}',
    "a number of 5000 digits": b'{"a": 1' + b"0" * 5000 + b"}",
    "half a surrogate pair": rb'{"a": "\ud800"}',
    "invalid UTF-8": b'{"a": "\xff"}',
    "invalid UTF-8 in a name": b'{"\xff": 1}',
    "deep arrays": b"[" * 100_000,
    "deep arrays in an object": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"a":' * 100_000,
    "an array": b"[]",
    "a string": b'"x"',
    "null": b"null",
    "single quotes": b"{'a': 1}",
    "a control character": b'{"a": "\x01"}',
}


def envelope(auth_data: Any = AUTH, payload: bytes = b"{}", **more: Any) -> bytes:
    rest = "".join(f', "{name}": {json.dumps(value)}' for name, value in more.items())
    return b'{"auth_data": ' + json.dumps(auth_data).encode() + b', "payload": ' + payload + rest.encode() + b"}"


# --- objects --------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_not_one_json_object_is_invalid_json(body: bytes) -> None:
    with pytest.raises(InvalidJson) as caught:
        wire.decode_object(body)
    assert str(caught.value).startswith("invalid JSON")


def test_an_object_is_decoded_from_bytes_and_from_a_view_of_them() -> None:
    assert wire.decode_object(b' {"a": [1, 2.0, "\\u00fc", null]} ') == {"a": [1, 2.0, "ü", None]}
    assert wire.decode_object(memoryview(b'x{"a": 1}')[1:]) == {"a": 1}


def test_the_reason_tells_a_wrong_type_and_a_wrong_number_apart() -> None:
    with pytest.raises(InvalidJson, match="expected an object"):
        wire.decode_object(b"[1]")
    with pytest.raises(InvalidJson, match="a number is out of range"):
        wire.decode_object(b'{"a": 1e999}')


# --- auth_data ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cost", [0, 0.0, 242, 242.0, 1e308, 10**30])
def test_a_cost_keeps_its_type(cost: float) -> None:
    read = wire.parse_auth_data({**AUTH, "cost": cost})
    assert (read.cost, type(read.cost)) == (cost, type(cost))


@pytest.mark.parametrize("cost", [-1, -0.5, float("inf"), float("nan"), 10**400, -(10**400)])
def test_a_cost_that_is_no_finite_number_from_0_is_refused(cost: float) -> None:
    with pytest.raises(JsonDataException) as caught:
        wire.parse_auth_data({**AUTH, "cost": cost})
    assert caught.value.message == {"cost": "must be a finite number, 0 or more"}


@pytest.mark.parametrize("message", [None, [], "x", 1, True])
def test_auth_data_must_be_an_object(message: Any) -> None:
    with pytest.raises(JsonDataException) as caught:
        wire.parse_auth_data(message)
    assert caught.value.message == {"auth_data": "expected object"}


def test_every_field_that_is_missing_is_named() -> None:
    with pytest.raises(JsonDataException) as caught:
        wire.parse_auth_data({"cost": "1", "reqnum": None})
    assert caught.value.message == {
        "cost": "expected integer | number, got string",
        "endpoint": "missing parameter",
        "reqnum": "missing parameter",
        "url": "missing parameter",
        "signature": "missing parameter",
    }


@pytest.mark.parametrize("given", [{}, {"request_idx": None}])
def test_request_idx_is_optional(given: dict[str, Any]) -> None:
    message = {name: value for name, value in AUTH.items() if name != "request_idx"} | given
    assert wire.parse_auth_data(message).request_idx == 0


def test_a_whole_route_answer_will_do() -> None:
    answer = {**AUTH, "__request_id": "an-id", "status": None}
    assert wire.parse_auth_data(answer) == AUTH_DATA
    assert AuthData.from_json_msg(answer) == AUTH_DATA


# --- the envelope ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        b' { "a" : 1,\n "a":2 } ',
        b"1.50",
        b'"\\u00e9\\/"',
        b"null",
        b'{"n": 1e999, "deep": ' + b"[" * 500 + b"]" * 500 + b"}",
        '{"ü": "😀"}'.encode(),
    ],
)
def test_the_payload_is_the_bytes_that_were_sent(payload: bytes) -> None:
    read = wire.parse_envelope(envelope(payload=payload))
    assert read is not None
    assert bytes(read.payload) == payload.strip()


def test_an_envelope_is_read() -> None:
    read = wire.parse_envelope(envelope(session_id="sid", unknown=[1]))
    assert read is not None
    assert (read.auth_data, read.session_id) == (AUTH_DATA, "sid")


def test_a_session_id_of_null_is_none() -> None:
    read = wire.parse_envelope(envelope(session_id=None))
    assert read is not None
    assert read.session_id is None


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'{"auth_data": null, "payload": {}}',
        envelope({**AUTH, "cost": "1"}),
        envelope({**AUTH, "cost": -1}),
        envelope({**AUTH, "cost": 10**400}),
        envelope({**AUTH, "reqnum": None}),
        envelope({**AUTH, "request_idx": None}),  # well-formed, but for the slow way to read
        envelope(session_id=1),
        b'{"auth_data": ' + json.dumps(AUTH).encode() + b"}",
    ],
)
def test_an_envelope_with_a_wrong_field_is_left_to_those_who_find_out_which(body: bytes) -> None:
    assert wire.parse_envelope(body) is None


@pytest.mark.parametrize(
    "body", [body for name, body in BROKEN.items() if name not in {"an array", "a string", "null"}]
)
def test_what_is_not_json_is_never_an_envelope(body: bytes) -> None:
    try:
        assert wire.parse_envelope(body) is None
    except InvalidJson:
        return
    assert wire.parse_envelope(body) is None


@pytest.mark.parametrize("payload", [b"[" * 100_000, b'{"a": NaN}', b'{"a": 1', b"nul", b"'x'"])
def test_a_payload_that_is_not_json_is_invalid(payload: bytes) -> None:
    with pytest.raises(InvalidJson):
        wire.parse_envelope(envelope(payload=payload))


# --- the header -----------------------------------------------------------------------------------


def test_the_header_is_read_as_it_was_written() -> None:
    assert wire.parse_auth_header(wire.dump_auth_header(AUTH_DATA)) == (AUTH_DATA, None)
    assert wire.parse_auth_header(wire.dump_auth_header(AUTH_DATA).rstrip("=")) == (AUTH_DATA, None)


def header(message: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(message).encode()).decode()


def test_a_session_id_may_stand_beside_the_claims_in_the_header() -> None:
    assert wire.parse_auth_header(header({**AUTH, "session_id": "sid"})) == (AUTH_DATA, "sid")
    with pytest.raises(JsonDataException) as caught:
        wire.parse_auth_header(header({**AUTH, "session_id": 1}))
    assert caught.value.message == {"X-Auth-Data": {"session_id": "expected string"}}


@pytest.mark.parametrize("value", ["", "=", "e30", "é", "not base64!", "W10=", "bnVsbA==", "\ud800"])
def test_a_header_that_is_no_auth_data_is_refused_under_its_name(value: str) -> None:
    with pytest.raises(JsonDataException) as caught:
        wire.parse_auth_header(value)
    assert list(caught.value.message) == ["X-Auth-Data"]


def test_a_header_with_wrong_fields_names_them() -> None:
    with pytest.raises(JsonDataException) as caught:
        wire.parse_auth_header(header({**AUTH, "cost": -1}))
    assert caught.value.message == {"X-Auth-Data": {"cost": "must be a finite number, 0 or more"}}


# --- other messages -------------------------------------------------------------------------------


def test_an_engine_requires_of_a_report_only_who_it_is_from() -> None:
    report = wire.parse(b'{"id": 1, "mtoken": "m", "cur_load": null, "loadtime": 3, "new_field": 1}', wire.WorkerStatus)
    assert (report.id, report.mtoken, report.cur_load, report.loadtime) == (1, "m", None, 3)
    with pytest.raises(JsonDataException) as caught:
        wire.parse(b'{"loadtime": "x"}', wire.WorkerStatus)
    assert caught.value.message.keys() == {"id", "mtoken", "loadtime"}


def test_a_report_has_the_names_that_engines_know() -> None:
    report = wire.StatusReport(
        id=1,
        mtoken="m",
        version="v",
        loadtime=0.0,
        new_load=0.0,
        cur_load=0.0,
        rej_load=0.0,
        max_perf=0.0,
        cur_perf=0.0,
        error_msg="",
        num_requests_working=0,
        num_requests_recieved=0,
        working_request_idxs=[],
        additional_disk_usage=0.0,
        disk_usage=0.0,
        url="",
    )
    names = (
        "id mtoken version loadtime new_load cur_load rej_load max_perf cur_perf error_msg url state "
        "num_requests_working num_requests_recieved working_request_idxs "
        "additional_disk_usage disk_usage cur_capacity max_capacity"
    )
    assert set(json.loads(wire.dump(report))) == set(names.split())


def test_finished_requests_have_null_where_they_never_came() -> None:
    message = wire.DeleteRequests(3, "m", [wire.FinishedRequest(9, False, "Rejected", 1.5)])
    assert json.loads(wire.dump(message)) == {
        "worker_id": 3,
        "mtoken": "m",
        "requests": [
            {
                "request_idx": 9,
                "success": False,
                "status": "Rejected",
                "entered_queue_at": 1.5,
                "work_started_at": None,
                "work_completed_at": None,
                "workload": None,
            }
        ],
    }


def test_a_route_answer_is_the_auth_data_of_a_request() -> None:
    answer = wire.RouteAnswer(**AUTH, request_uuid="an-id")
    sent = wire.dump(answer)
    assert json.loads(sent)["__request_id"] == "an-id"
    assert wire.parse(sent, wire.RouteAnswer) == answer
    assert wire.parse_auth_data(json.loads(sent)) == AUTH_DATA


def test_an_answer_without_a_url_means_waiting() -> None:
    waiting = wire.parse_route_answer(b'{"endpoint": "e", "status": {"LOADING": 2}, "request_idx": 4, "url": null}')
    assert isinstance(waiting, wire.WaitingAnswer)
    assert (waiting.status, waiting.request_idx) == ({"LOADING": 2}, 4)
    assert isinstance(wire.parse_route_answer(json.dumps(AUTH).encode()), wire.RouteAnswer)
