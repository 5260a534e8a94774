"""What authors may write by subclass (the extension API, section 1), each in a worker of its own."""

from __future__ import annotations

import dataclasses
import email
import email.message
import email.policy
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, web

from lib.backend import Backend, LogAction
from lib.data_types import ApiPayload, AuthData, EndpointHandler, JsonDataException
from pyworker.testing import FakeRequest, answer
from pyworker.wire import dump_auth_header, parse_auth_data
from pyworker.worker.core.gate import Mode
from tests.support.workers.handlers import Generate, Prompt, payload
from tests.support.workers.rig import Rig, a_worker

# --- get_data_from_request ------------------------------------------------------------------------


class WithTwo(Generate):
    """Parses requests itself, as authors did before there were sessions."""

    def get_data_from_request(self, req_data: dict[str, Any]) -> tuple[AuthData, Prompt]:
        auth_data = AuthData.from_json_msg(req_data["auth_data"])
        given = req_data["payload"]
        if "text" not in given:
            raise JsonDataException({"payload": {"text": "missing parameter"}})
        return auth_data, Prompt(prompt=given["text"].upper())


class WithThree(Generate):
    """The same with the session id."""

    def get_data_from_request(self, req_data: dict[str, Any]) -> tuple[AuthData, Prompt, str | None]:
        auth_data = AuthData.from_json_msg(req_data["auth_data"])
        return auth_data, Prompt(prompt=req_data["payload"]["text"]), req_data.get("session_id")


@pytest.mark.parametrize("handler", [WithTwo(), WithThree()], ids=["two", "three"])
async def test_an_author_may_parse_requests(tmp_path: Path, handler: Generate) -> None:
    async with a_worker(tmp_path, handler, mode=Mode.TICKET) as rig:
        assert (await rig.post("/generate", {"text": "WHY"})).status == 200
        assert rig.model.requests[0].json()["prompt"] == "WHY"
        refused = await rig.post("/generate", {"text": "why"}, auth={**rig.auth(), "signature": "no"})
        assert refused.status == 401
        assert (await rig.post("/generate", {"prompt": "why"})).status == 422
        for broken in ({}, {"auth_data": rig.auth()}, {"payload": {"text": "x"}}, {"auth_data": 5, "payload": 5}):
            assert (await rig.send("POST", "/generate", json=broken)).status == 422
        await rig.settled(served=1)


async def test_what_the_author_says_about_the_payload_reaches_the_client(tmp_path: Path) -> None:
    async with a_worker(tmp_path, WithTwo()) as rig:
        answered = await rig.post("/generate", {})
        assert (answered.status, answered.json()) == (422, {"payload": {"text": "missing parameter"}})


async def test_the_third_part_is_the_session(tmp_path: Path) -> None:
    async with a_worker(tmp_path, WithThree(), mode=Mode.TICKET) as rig:
        auth = rig.auth()
        created = await rig.send("POST", "/session/create", json={"auth_data": auth, "payload": {}})
        session_id = created.json()["session_id"]
        for _ in range(2):
            assert (await rig.post("/generate", {"text": "x"}, auth=auth, session_id=session_id)).status == 200
        assert (await rig.post("/generate", {"text": "x"}, auth=auth, session_id="nobody")).status == 410


# --- generate_payload_json ------------------------------------------------------------------------


@dataclasses.dataclass
class Renamed(Prompt):
    """Newer workers say on the payload what the model gets."""

    def generate_payload_json(self) -> dict[str, Any]:
        return {"inputs": self.prompt, "parameters": {"max_new_tokens": self.max_response_tokens}}


class RenamedByPayload(Generate):
    @classmethod
    def payload_cls(cls) -> type[Prompt]:
        return Renamed


class RenamedByHandler(RenamedByPayload):
    def generate_payload_json(self, payload: Prompt) -> dict[str, Any]:
        return {"by": "handler", "text": payload.prompt}


@pytest.mark.parametrize(
    ("handler", "sent"),
    [
        (Generate(), {"prompt": "Why?", "max_response_tokens": 10}),
        (RenamedByPayload(), {"inputs": "Why?", "parameters": {"max_new_tokens": 10}}),
        (RenamedByHandler(), {"by": "handler", "text": "Why?"}),
    ],
    ids=["default", "payload", "handler"],
)
async def test_what_the_model_gets_is_said_by_handler_or_payload(tmp_path: Path, handler: Generate, sent: Any) -> None:
    async with a_worker(tmp_path, handler, benchmark_handler=handler) as rig:
        rig.model.requests.clear()
        assert (await rig.post("/generate", payload())).status == 200
        assert rig.model.requests[0].json() == sent


async def test_a_request_to_the_model_that_cannot_be_made_is_a_500(tmp_path: Path) -> None:
    class Failing(Generate):
        def generate_payload_json(self, payload: Prompt) -> dict[str, Any]:
            raise KeyError(payload.prompt)

    async with a_worker(tmp_path, Failing()) as rig:
        assert (await rig.post("/generate", payload())).status == 500
        assert not rig.model.requests
        await rig.settled(errored=1)


# --- generate_payload_multipart -------------------------------------------------------------------

PNG = b"\x89PNG\r\n\x1a\n--boundary\r\n"


@dataclasses.dataclass
class Form(Prompt):
    """Its JSON for most prompts, a form for those that begin with it."""

    def generate_payload_multipart(self) -> dict[str, Any] | None:
        return FORMS.get(self.prompt)


FORMS: dict[str, dict[str, Any]] = {
    "form": {
        "image": ("a b.png", PNG, "image/png"),
        "prompt": "räksmörgås",
        "steps": 20,
        "scale": 7.5,
        "upscale": True,
        "tiling": False,
        "seed": None,
        "tags": ["one", "two", None, 3],
        "options": {"a": [1, None], "b": "ü"},
        "matrix": [[1, 2], [3]],
        "masks": [("1.png", b"1", "image/png"), ("2.png", b"2", "image/png")],
        "empty": "",
    },
    "bare": {"image": PNG},
    "bare in a list": {"images": [PNG]},
}


class FormHandler(Generate):
    @classmethod
    def payload_cls(cls) -> type[Prompt]:
        return Form


def parts_of(request: FakeRequest) -> list[tuple[str, str | None, str, bytes]]:
    """Name, file name, content type and content of each part of a form."""
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + request.body, policy=email.policy.HTTP)
    assert message.is_multipart()
    return [part_of(part) for part in message.iter_parts()]


def part_of(part: email.message.Message) -> tuple[str, str | None, str, bytes]:
    """One of them."""
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    name = part.get_param("name", header="Content-Disposition")
    return str(name), part.get_filename(), part.get_content_type(), content


async def test_a_payload_may_be_a_form(tmp_path: Path) -> None:
    """Files, repeated fields, JSON, true and false; what is None is left out."""
    async with a_worker(tmp_path, FormHandler()) as rig:
        assert (await rig.post("/generate", payload("form"), headers={"X-Client": "1"})).status == 200
        request = rig.model.requests[0]
        assert request.headers.getall("Content-Type") == [request.headers["Content-Type"]]
        assert int(request.headers["Content-Length"]) == len(request.body)
        assert request.headers["X-Client"] == "1"
        parts = parts_of(request)
        files = [part for part in parts if part[1]]
        assert files == [
            ("image", "a b.png", "image/png", PNG),
            ("masks", "1.png", "image/png", b"1"),
            ("masks", "2.png", "image/png", b"2"),
        ]
        fields = [(name, content.decode()) for name, file, _, content in parts if not file]
        assert [field for field in fields if field[0] != "options"] == [
            ("prompt", "räksmörgås"),
            ("steps", "20"),
            ("scale", "7.5"),
            ("upscale", "true"),
            ("tiling", "false"),
            ("tags", "one"),
            ("tags", "two"),
            ("tags", "3"),
            ("matrix", "[1,2]"),
            ("matrix", "[3]"),
            ("empty", ""),
        ]
        assert json.loads(dict(fields)["options"]) == {"a": [1, None], "b": "ü"}


async def test_a_form_that_is_none_is_json(tmp_path: Path) -> None:
    async with a_worker(tmp_path, FormHandler()) as rig:
        assert (await rig.post("/generate", payload("as ever"))).status == 200
        assert rig.model.requests[0].json()["prompt"] == "as ever"


@pytest.mark.parametrize("prompt", ["bare", "bare in a list"])
async def test_bare_bytes_are_no_part_of_a_form(tmp_path: Path, prompt: str, caplog: pytest.LogCaptureFixture) -> None:
    async with a_worker(tmp_path, FormHandler()) as rig:
        assert (await rig.post("/generate", payload(prompt))).status == 500
        assert "TypeError" in caplog.text
        assert "give (filename, bytes, content_type)" in caplog.text
        assert not rig.model.requests


async def test_a_form_that_is_no_method_of_the_class_is_not_asked_for(tmp_path: Path) -> None:
    """An attribute of that name on the payload is a field like any other."""

    @dataclasses.dataclass
    class Odd(Prompt):
        def __post_init__(self) -> None:
            self.generate_payload_multipart = lambda: {"prompt": "not asked for"}

    class OddHandler(Generate):
        @classmethod
        def payload_cls(cls) -> type[Prompt]:
            return Odd

    async with a_worker(tmp_path, OddHandler()) as rig:
        assert (await rig.post("/generate", payload("asked for"))).status == 200
        assert rig.model.requests[0].json()["prompt"] == "asked for"


# --- remote functions -----------------------------------------------------------------------------


async def shout(prompt: str, max_response_tokens: int) -> dict[str, Any]:
    """Runs in the worker, there is no model server."""
    if prompt == "fail":
        raise RuntimeError("SECRET inside")
    return {"shouted": prompt.upper(), "tokens": max_response_tokens}


async def test_a_remote_function_answers_instead_of_a_model(tmp_path: Path) -> None:
    handler = Generate(remote_function=shout)
    async with a_worker(tmp_path, handler, mode=Mode.TICKET, benchmark_handler=handler) as rig:
        answered = await rig.post("/generate", payload("hello"))
        assert (answered.status, answered.json()) == (200, {"result": {"shouted": "HELLO", "tokens": 10}})
        failed = await rig.post("/generate", payload("fail"))
        assert failed.status == 500
        assert "SECRET" not in failed.body.decode()
        assert not rig.model.requests
        await rig.settled(served=1, errored=1)


async def test_a_handler_may_dispatch_remotely_in_its_own_way(tmp_path: Path) -> None:
    class Dispatching(Generate):
        async def call_remote_dispatch_function(self, params: dict[str, Any]) -> Any:
            return [params["prompt"], "dispatched"]

    async with a_worker(tmp_path, Dispatching(remote_function=shout)) as rig:
        assert (await rig.post("/generate", payload("x"))).json() == {"result": ["x", "dispatched"]}


# --- the model's address --------------------------------------------------------------------------


async def test_the_models_address_may_hold_a_path(tmp_path: Path) -> None:
    """It stands before every endpoint, before the health URL's path, and before what authors ask by the session."""

    def routes(backend: Backend) -> list[web.RouteDef]:
        async def models(_: web.Request) -> web.Response:
            async with backend.session.get("models") as response:
                return web.Response(body=await response.read())

        return [web.get("/models", models)]

    async with a_worker(
        tmp_path, Generate(), base_path="/api/v1", routes=routes, healthcheck_url="/health", wait=False
    ) as rig:
        rig.model.on("/api/v1/models", answer("smollm2"))
        rig.model.on("/api/v1/health", answer("well"))
        await rig.ready()
        assert (await rig.post("/generate", payload())).status == 200
        assert (await rig.send("GET", "/models")).body == b"smollm2"
        assert {request.path for request in rig.model.requests} == {
            "/api/v1/health",
            "/api/v1/generate",
            "/api/v1/models",
        }


# --- from_json_msg --------------------------------------------------------------------------------


@dataclasses.dataclass
class Typed(ApiPayload):
    """Every kind of field that a dataclass may have."""

    prompt: str
    steps: int
    scale: float
    images: list[str]
    options: dict[str, int]
    negative: str | None
    seed: int = 7
    tags: list[str] = dataclasses.field(default_factory=list[str])

    @classmethod
    def for_test(cls) -> Typed:
        return cls("p", 1, 1.0, [], {}, None)

    def count_workload(self) -> float:
        return float(self.steps)


@dataclasses.dataclass
class TypedHandler(EndpointHandler[Typed]):
    @property
    def endpoint(self) -> str:
        return "/generate"

    @classmethod
    def payload_cls(cls) -> type[Typed]:
        return Typed

    async def generate_client_response(
        self,
        client_request: web.Request,  # noqa: ARG002 - the contract
        model_response: ClientResponse,
    ) -> web.Response | web.StreamResponse:
        return web.Response(body=await model_response.read())


COMPLETE = {"prompt": "p", "steps": 3, "scale": 1.5, "images": ["a"], "options": {"x": 1}, "negative": "n"}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (COMPLETE, {**COMPLETE, "seed": 7, "tags": []}),
        ({**COMPLETE, "seed": None, "tags": None}, {**COMPLETE, "seed": 7, "tags": []}),
        ({**COMPLETE, "negative": None}, {**COMPLETE, "negative": None, "seed": 7, "tags": []}),
        ({**COMPLETE, "scale": 2}, {**COMPLETE, "scale": 2, "seed": 7, "tags": []}),
        ({**COMPLETE, "more": True}, {**COMPLETE, "seed": 7, "tags": []}),
    ],
)
async def test_the_default_parser_reads_the_dataclass(tmp_path: Path, given: Any, sent: Any) -> None:
    async with a_worker(tmp_path, TypedHandler()) as rig:
        assert (await rig.post("/generate", given)).status == 200
        assert rig.model.requests[0].json() == sent


async def test_the_default_parser_names_all_that_is_wrong(tmp_path: Path) -> None:
    async with a_worker(tmp_path, TypedHandler()) as rig:
        wrong = {"steps": "3", "scale": True, "images": [1], "options": {"x": "y"}, "seed": 1.5}
        answered = await rig.post("/generate", wrong)
        assert answered.status == 422
        assert set(answered.json()["payload"]) == {"prompt", *wrong}


# --- other things that authors do -----------------------------------------------------------------


async def test_a_handler_may_be_wrapped_and_mounted_elsewhere(tmp_path: Path) -> None:
    """The worker's route and the model's need not be the same, and one handler may have several."""

    def routes(backend: Backend) -> list[web.RouteDef]:
        handle = backend.create_handler(Generate(route="/internal/generate"))

        async def wrapped(request: web.Request) -> web.StreamResponse:
            response = await handle(request)
            response.headers["X-Wrapped"] = "yes"
            return response

        return [web.post("/v1/generate", wrapped), web.post("/v2/generate", handle)]

    async with a_worker(tmp_path, routes=routes) as rig:
        wrapped = await rig.post("/v1/generate", payload())
        assert (wrapped.status, wrapped.headers["X-Wrapped"]) == (200, "yes")
        assert (await rig.post("/v2/generate", payload())).status == 200
        assert {request.path for request in rig.model.requests} == {"/internal/generate"}


async def test_a_handler_with_path_parameters_fills_them_in(tmp_path: Path) -> None:
    async with a_worker(tmp_path, Generate(route="/models/{name}/generate")) as rig:
        assert (await rig.post("/models/smol%20lm/generate", payload())).status == 200
        assert rig.model.requests[0].path == "/models/smol%20lm/generate"


async def test_a_plain_json_body_with_its_proof_in_the_header_is_an_authors_payload(tmp_path: Path) -> None:
    async with a_worker(tmp_path, Generate(), mode=Mode.TICKET) as rig:
        assert (await plain(rig, payload("plain"))).status == 200
        assert rig.model.requests[0].json()["prompt"] == "plain"
        refused = await plain(rig, {})
        assert (refused.status, refused.json()) == (422, {"prompt": "missing parameter"})


async def plain(rig: Rig, body: Any) -> Any:
    """A body that is no envelope."""
    return await rig.send(
        "POST", "/generate", json=body, headers={"X-Auth-Data": dump_auth_header(parse_auth_data(rig.auth()))}
    )


def test_log_actions_keep_their_numbers() -> None:
    """Workers in the wild compare them."""
    assert [action.value for action in (LogAction.ModelLoaded, LogAction.ModelError, LogAction.Info)] == [1, 2, 3]
