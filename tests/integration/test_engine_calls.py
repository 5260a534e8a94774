"""The engine's calls on a real socket."""

from __future__ import annotations

import asyncio
import time
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pyworker.engine.app import running_engine
from pyworker.engine.calls.http import errors_as_json
from pyworker.engine.engine import EngineConfig
from pyworker.errors import ConfigurationError
from tests.support.engines import API_KEY, EngineUnderTest, ReportingWorker, a_fleet, an_engine

KEY = {"Authorization": f"Bearer {API_KEY}"}
ROUTE = {"endpoint": "default", "api_key": API_KEY, "cost": 10}


# --- /route/ ---


async def test_a_request_is_sent_to_a_worker_with_a_ticket_that_the_worker_takes() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        answer = await engine.route(cost=242)
        assert answer["url"] == worker.url
        assert (answer["endpoint"], answer["cost"]) == ("default", 242)
        assert worker.is_ours(answer)
        assert set(answer) == {"endpoint", "url", "cost", "reqnum", "request_idx", "signature", "__request_id"}


async def test_a_ticket_is_no_good_for_another_cost_or_at_another_worker() -> None:
    async with a_fleet() as (engine, fleet):
        worker, other = await fleet.join(), await fleet.join()
        answer = await engine.route()
        right, wrong = (worker, other) if answer["url"] == worker.url else (other, worker)
        assert right.is_ours(answer)
        assert not wrong.is_ours(answer)
        assert not right.is_ours({**answer, "cost": 1})
        assert not right.is_ours({**answer, "url": wrong.url})


async def test_a_worker_without_a_ticket_key_gets_one_signature_for_good() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join(signature_scheme=4)
        first, second = await engine.route(cost=1), await engine.route(cost=2)
        assert first["signature"] == second["signature"]
        assert await worker.is_signed(first)


@pytest.mark.parametrize("scheme", [1, 3])
async def test_older_signatures_are_made_for_workers_that_ask_for_them(scheme: int) -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join(signature_scheme=scheme)
        answer = await engine.route(cost=242)
        assert await worker.is_signed(answer, scheme)
        assert not await worker.is_signed({**answer, "cost": 242.0}, scheme)


async def test_without_a_worker_the_answer_has_no_url_and_a_poll_keeps_its_number() -> None:
    async with a_fleet() as (engine, fleet):
        waiting = await engine.route()
        assert "url" not in waiting
        assert waiting["status"] == "no worker has reported yet"
        again = await engine.route(request_idx=waiting["request_idx"])
        assert again["request_idx"] == waiting["request_idx"]
        await fleet.join()
        answer = await engine.route(request_idx=waiting["request_idx"])
        assert (answer["request_idx"], "url" in answer) == (waiting["request_idx"], True)


async def test_a_held_call_is_answered_as_soon_as_a_worker_reports() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join(report={"state": "benchmarking"})
        held = [asyncio.create_task(engine.route(wait=30)) for _ in range(3)]
        await asyncio.wait(held, timeout=0.2)
        assert not any(call.done() for call in held)
        await worker.report()
        answers = await asyncio.gather(*held)
        assert {answer["url"] for answer in answers} == {worker.url}


async def test_a_held_call_ends_with_waiting_when_its_time_is_over() -> None:
    async with an_engine() as engine:
        answer = await engine.route(wait=0.05)
        assert "url" not in answer


async def test_a_caller_that_left_takes_no_worker_away_from_the_next() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join(report={"max_perf": 0.0, "cur_load": 1.0})
        with pytest.raises(TimeoutError):
            await engine.post("/route/", {**ROUTE, "wait": 30}, timeout=aiohttp.ClientTimeout(total=0.2))
        held = asyncio.create_task(engine.route(wait=30))
        await asyncio.wait([held], timeout=0.2)
        await worker.report(max_perf=0.0, cur_load=0.0)
        assert (await held)["url"] == worker.url


async def test_the_engine_lets_held_calls_go_when_it_stops() -> None:
    async with aiohttp.ClientSession() as http:
        async with running_engine(EngineConfig(API_KEY, ("default",), port=0)) as running:
            held = asyncio.create_task(EngineUnderTest(running.url, http).route(wait=60))
            await asyncio.wait([held], timeout=0.2)
        assert "url" not in await held


async def test_numbers_begin_above_those_of_an_engine_before() -> None:
    async with a_fleet() as (engine, fleet):
        await fleet.join()
        before = await engine.route()
    async with a_fleet() as (engine, fleet):
        await fleet.join()
        after = await engine.route()
    assert after["request_idx"] > before["request_idx"]
    assert after["reqnum"] > before["reqnum"]


# --- who may ask ---


@pytest.mark.parametrize(
    "asked",
    [
        {"headers": {"Authorization": f"Bearer {API_KEY}"}},
        {"params": {"api_key": API_KEY}},
        {"body": {"api_key": API_KEY}},
        {
            "headers": {"Authorization": f"bearer {API_KEY}"},
            "body": {"api_key": "wrong"},
            "params": {"api_key": "wrong"},
        },
        {"body": {"api_key": API_KEY}, "params": {"api_key": "wrong"}},
    ],
)
async def test_the_key_stands_in_header_body_or_query_in_this_order(asked: dict[str, Any]) -> None:
    async with an_engine() as engine:
        body = {"endpoint": "default", "cost": 1, **asked.pop("body", {})}
        assert (await engine.post("/route/", body, **asked))[0] == 200


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"headers": {"Authorization": "Bearer wrong"}, "body": {"api_key": API_KEY}},
        {"headers": {"Authorization": f"Basic {API_KEY}"}},
        {"body": {"api_key": "wrong"}, "params": {"api_key": API_KEY}},
        {"body": {"api_key": "Schlüssel"}},
    ],
)
async def test_a_wrong_key_is_a_401_that_says_where_it_belongs(asked: dict[str, Any]) -> None:
    async with an_engine() as engine:
        body = {"endpoint": "default", "cost": 1, **asked.pop("body", {})}
        status, answer = await engine.post("/route/", body, **asked)
        assert (status, answer["error"]) == (401, "wrong_key")
        assert "Authorization: Bearer" in answer["msg"]


async def test_every_management_call_needs_the_key() -> None:
    async with an_engine() as engine:
        assert (await engine.get("/api/v0/endptjobs/"))[0] == 401
        assert (await engine.get("/api/v0/endptjobs/1/"))[0] == 401
        assert (await engine.post("/get_endpoint_workers/", {"id": 1}))[0] == 401
        assert (await engine.post("/api/v0/worker_tokens/", {"endpoint": "default"}))[0] == 401


async def test_an_endpoints_own_key_opens_its_route_and_nothing_else() -> None:
    async with an_engine(endpoints=["one", "two"]) as engine:
        _, listed = await engine.get("/api/v0/endptjobs/", params={"api_key": API_KEY})
        one, two = listed["results"]
        key = {"api_key": one["api_key"]}
        assert one["api_key"] != two["api_key"]
        assert (await engine.post("/route/", {"endpoint": "one", **key}))[0] == 200
        assert (await engine.post("/route/", {"endpoint": "two", **key}))[0] == 401
        assert (await engine.post("/route/", {"endpoint": "nope", **key}))[0] == 401
        assert (await engine.get("/api/v0/endptjobs/", params=key))[0] == 401
        assert (await engine.post("/api/v0/worker_tokens/", {"endpoint": "one", **key}))[0] == 401


# --- bad input ---


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "invalid JSON"),
        (b"{", "invalid JSON"),
        (b"[]", "expected an object"),
        (b"\xff\xfe", "invalid JSON"),
        (b'{"cost": NaN}', "invalid JSON"),
        (b"[" * 10_000, "invalid JSON"),
        ({**ROUTE, "endpoint": "nope"}, "there is default"),
        ({**ROUTE, "endpoint": 7}, "expected string"),
        ({**ROUTE, "endpoint": None}, "missing parameter"),
        ({**ROUTE, "cost": -1}, "cost"),
        ({**ROUTE, "cost": "1"}, "cost"),
        ({**ROUTE, "cost": 10**400}, "cost"),
        ({**ROUTE, "cost": 1e300}, "cost"),
        ({**ROUTE, "request_idx": "seven"}, "request_idx"),
    ],
)
async def test_a_malformed_call_is_a_400_that_says_what_is_wrong(body: Any, said: str) -> None:
    async with an_engine() as engine:
        status, answer = await engine.post("/route/", body)
        assert status == 400
        assert answer["success"] is False
        assert said in answer["msg"]
        assert (await engine.get("/health"))[0] == 200


async def test_strange_numbers_are_harmless() -> None:
    async with an_engine() as engine:
        for fields in ({"request_idx": -1}, {"request_idx": 2**62}, {"cost": 0}, {"wait": -5}, {"wait": 0}):
            assert "url" not in await engine.route(**fields)


async def test_a_body_above_the_limit_is_a_413_and_a_wrong_path_or_method_says_so_as_json() -> None:
    async with an_engine(max_body_bytes=1000) as engine:
        assert (await engine.post("/route/", b"x" * 2000))[0] == 413
        status, answer = await engine.get("/nope")
        assert (status, answer["success"], answer["error"]) == (404, False, "not_found")
        async with engine.http.get(engine.url + "/route/") as response:
            assert (response.status, response.headers["Allow"]) == (405, "POST")
            assert (await response.json())["error"] == "method_not_allowed"


async def test_a_fault_of_the_engines_own_is_a_500_that_gives_nothing_away(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: web.Request) -> web.Response:
        raise ValueError("with a secret in it")

    app = web.Application(middlewares=[errors_as_json])
    app.router.add_get("/fail", fail)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession() as http,
        http.get(server.make_url("/fail")) as response,
    ):
        answer = await response.json()
    assert (response.status, answer["error"]) == (500, "internal_error")
    assert "secret" not in str(answer)
    assert "call failed" in caplog.text


async def test_the_log_holds_no_keys_and_no_tokens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        answer = await engine.route()
        await engine.get("/api/v0/endptjobs/", params={"api_key": API_KEY})
        await engine.post("/worker_status/", {"id": 1, "mtoken": "guess"})
    logged = "".join(str(vars(record)) for record in caplog.records)
    assert "is IDLE" in logged
    for secret in (API_KEY, worker.mtoken, answer["signature"], "guess"):
        assert secret not in logged


# --- workers ---


async def test_a_worker_whose_token_is_unknown_is_warned_of_once_and_those_who_wait_hear_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with an_engine() as engine:
        for _ in range(3):
            assert (await engine.post("/worker_status/", {"id": 7, "mtoken": "guess"}))[0] == 401
        finished = {"worker_id": 7, "mtoken": "guess", "requests": []}
        assert (await engine.post("/delete_requests/", finished))[0] == 401
        assert "unknown token" in (await engine.route())["status"]
    (warning,) = [vars(record) for record in caplog.records if "is refused" in record.getMessage()]
    assert (warning["source"], warning["worker_id"]) == ("127.0.0.1", 7)
    assert "pyworker worker token" in warning["reason"]


async def test_two_workers_with_one_id_are_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    async with a_fleet() as (_, fleet):
        first, second = await fleet.join(), await fleet.join()
        for _ in range(2):
            for worker in (first, second):
                await worker.report(id=worker.id)
        assert "same id" not in caplog.text
        third = await fleet.join(report={"id": first.id})
        for _ in range(3):
            await first.report()
            await third.report(id=first.id)
    (warning,) = [vars(record) for record in caplog.records if "same id" in record.getMessage()]
    assert {warning["url"], warning["other_url"]} == {first.url, third.url}


async def test_reports_with_an_unknown_token_or_from_elsewhere_are_a_401() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        assert (await engine.post("/worker_status/", {"id": 1, "mtoken": "guess"}))[0] == 401
        assert (await worker.report(id=99))[0] == 401
        assert (await worker.report(url="http://127.0.0.1:9"))[0] == 401
        assert (await engine.post("/worker_status/", {"id": 1}))[0] == 400
        finished = {"worker_id": worker.id, "mtoken": "guess", "requests": []}
        assert (await engine.post("/delete_requests/", finished))[0] == 401


async def test_a_report_of_no_more_than_a_failed_start_is_taken() -> None:
    async with a_fleet() as (engine, fleet):
        worker = ReportingWorker(engine, await engine.token(), 5)
        failed = {
            "id": 5,
            "mtoken": worker.mtoken,
            "version": "x",
            "error_msg": "disk full",
            "url": "http://127.0.0.1:1",
        }
        assert (await engine.post("/worker_status/", failed))[0] == 200
        assert (await engine.route())["status"] == {"ERROR": 1}
        del fleet


async def test_a_rejected_request_gets_a_new_ticket_once_its_worker_has_said_so() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        answer = await engine.route()
        idx = answer["request_idx"]
        assert await engine.route(request_idx=idx) == answer
        assert (await worker.finished(idx, "Rejected"))[0] == 200
        again = await engine.route(request_idx=idx)
        assert again["signature"] != answer["signature"]
        assert worker.is_ours(again)


async def test_a_worker_that_refuses_a_clients_connection_is_noticed_when_the_client_comes_back() -> None:
    async with a_fleet() as (engine, fleet):
        dead, alive = await fleet.join(), await fleet.join(report={"state": "starting"})
        answer = await engine.route()
        assert answer["url"] == dead.url
        await dead.stop_listening()
        await alive.report()
        while (again := await engine.route(request_idx=answer["request_idx"], wait=5))["url"] == dead.url:
            pass  # as the client in the field does: at once
        assert again["url"] == alive.url


async def test_a_worker_of_ours_that_falls_silent_and_does_not_answer_is_dropped_within_seconds() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        await worker.stop_listening()
        while await _states(engine):  # noqa: ASYNC110 - a client has nothing else to wait for either
            await asyncio.sleep(0.05)
        assert "url" not in await engine.route()
        await worker.listen()
        await worker.report()
        assert (await engine.route())["url"] == worker.url


async def _states(engine: Any) -> dict[str, int]:
    """How many workers the engine lists, by state."""
    _, workers = await engine.post("/get_endpoint_workers/", {"id": 1, "api_key": API_KEY})
    return {worker["status"]: 1 for worker in workers}


# --- what management calls answer ---


async def test_endpoints_are_listed_with_all_their_parameters() -> None:
    async with an_engine(endpoints=["llm"], max_queue_time_s=12.0) as engine:
        key = {"params": {"client_id": "me", "api_key": API_KEY}}
        _, listed = await engine.get("/api/v0/endptjobs/", **key)
        _, shown = await engine.get("/api/v0/endptjobs/1/", **key)
        assert listed == {"success": True, "results": [shown["result"]]}
        endpoint = shown["result"]
        assert (endpoint["id"], endpoint["endpoint_name"], endpoint["max_queue_time"]) == (1, "llm", 12.0)
        assert {"api_key", "user_id", "created_at", "auto_delete_in_seconds", "auto_delete_due_24h"} <= set(endpoint)
        assert (await engine.get("/api/v0/endptjobs/2/", **key))[0] == 404
        assert (await engine.get("/api/v0/endptjobs/two/", **key))[0] == 400


async def test_workers_are_listed_with_numbers_that_are_never_null() -> None:
    async with a_fleet() as (engine, fleet):
        await fleet.join(report={"cur_load": 30.0, "num_requests_working": 2, "disk_usage": 1.5})
        await fleet.join(report={"state": None, "loadtime": None, "max_perf": None})
        _, (ready, new) = await engine.post("/get_endpoint_workers/", {"id": 1, "api_key": API_KEY})
        assert (ready["status"], ready["cur_load"], ready["reqs_working"], ready["measured_perf"]) == (
            "IDLE",
            30,
            2,
            100,
        )
        assert abs(ready["loaded_at"] - time.time()) < 60
        assert (new["status"], new["loaded_at"]) == ("LOADING", 0)
        assert None not in [*ready.values(), *new.values()]


async def test_the_workers_of_an_unknown_endpoint_are_an_error_msg() -> None:
    async with an_engine() as engine:
        status, answer = await engine.post("/get_endpoint_workers/", {"id": 9, "api_key": API_KEY})
        assert (status, list(answer)) == (200, ["error_msg"])


async def test_a_token_is_issued_for_an_endpoint_that_exists_and_a_scheme_that_exists() -> None:
    async with an_engine() as engine:
        for wrong in ({"endpoint": "nope"}, {"endpoint": "default", "signature_scheme": 2}):
            assert (await engine.post("/api/v0/worker_tokens/", {"api_key": API_KEY, **wrong}))[0] == 400
        token, other = await engine.token(), await engine.token(signature_scheme=4)
        assert token.ticket_key
        assert other.ticket_key is None
        assert len({token.mtoken, other.mtoken, token.ticket_key}) == 3


async def test_answers_carry_the_engines_date() -> None:
    async with an_engine() as engine, engine.http.get(engine.url + "/health") as response:
        assert abs(parsedate_to_datetime(response.headers["Date"]).timestamp() - time.time()) < 60


async def test_a_port_that_is_taken_is_a_clear_error() -> None:
    async with an_engine() as engine:
        taken = int(engine.url.rpartition(":")[2])
        with pytest.raises(ConfigurationError, match="--port 0"):
            async with running_engine(EngineConfig(API_KEY, port=taken)):
                pass


async def test_a_command_for_an_id_that_two_workers_have_is_refused_and_says_how_to_name_one() -> None:
    async with a_fleet() as (engine, fleet):
        one = await fleet.join()
        token = await engine.token()
        async with ReportingWorker(engine, token, one.id) as other:
            await other.report()
            async with engine.http.delete(f"{engine.url}/api/v0/workers/{one.id}/", headers=KEY) as response:
                said = (await response.json())["msg"]
            assert response.status == 400
            assert f"n1 ({one.url}, default), n2 ({other.url}, default)" in said
            assert ((await one.report())[0], (await other.report())[0]) == (200, 200)
            async with engine.http.delete(f"{engine.url}/api/v0/workers/n2/", headers=KEY) as response:
                assert response.status == 200
            while (await other.report())[0] != 401:  # noqa: ASYNC110 - seen by asking
                await asyncio.sleep(0.05)
            assert (await one.report())[0] == 200
            async with engine.http.delete(f"{engine.url}/api/v0/workers/n7/", headers=KEY) as response:
                assert (response.status, "number n7" in await response.text()) == (404, True)


@pytest.mark.parametrize("text", ["1_0", "%D9%A1", "+1", "%201", "1.0", "1e0", "n1", "9" * 30])
async def test_a_number_is_written_in_one_way_only(text: str) -> None:
    async with an_engine() as engine:
        for number in range(9):
            await engine.post("/api/v0/endptjobs/", {"endpoint_name": f"more-{number}"}, headers=KEY)
        status, answer = await engine.get(f"/api/v0/endptjobs/{text}/", headers=KEY)
        assert (status, "an id is a whole number" in answer["msg"]) == (400, True)
        assert (await engine.get("/api/v0/endptjobs/10/", headers=KEY))[0] == 200
