"""The official ``openai`` client for an endpoint: ``python -m workers.openai.client -k "$API_KEY" -e "$ENDPOINT"``.

A client of OpenAI's API knows one address. Here each request is for another worker, which the engine names:
``EndpointAuth`` asks for it and puts the proof into the header ``X-Auth-Data``. Everything else is the client's own:

    client = connect("http://localhost:8080", api_key, "chat")
    client.chat.completions.create(model="smollm2", messages=[{"role": "user", "content": "Hi"}], stream=True)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import sys
import time
from collections.abc import AsyncGenerator, Generator
from typing import Any, Final

import httpx2
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, DefaultHttpxClient, OpenAI, OpenAIError
from openai.types.chat import ChatCompletionUserMessageParam

from lib.test_utils import test_args
from pyworker.client.instances import instance_of
from pyworker.errors import PyWorkerError
from pyworker.wire import AuthData, RouteAnswer, RouteRequest, dump, dump_auth_header, parse_route_answer
from workers.openai.workload import ESTIMATES

__all__ = ["EndpointAuth", "connect", "connect_async"]

PROMPT: Final = "What is a proxy server? Answer in one sentence."
HOLD_S: Final = 20.0  # how long the engine may hold a call until a worker is free
ASK_AGAIN_S: Final = 1.0
RECORDING_COST: Final = 100.0  # of what has no JSON to count
Step = httpx2.Request | float  # to be sent, or a time in s to wait


class EndpointAuth(httpx2.Auth):
    """Sends each request of an ``httpx2`` client to a worker of ``endpoint``, with the proof that it was sent there.

    ``api_key`` is the engine's, and goes there only. While no worker is free the engine is asked again, for
    ``timeout_s`` at most, then the request fails with ConnectTimeout. What the engine answers instead of a worker (401
    for a wrong key, say) is the answer that the caller gets. A worker's 408, 429 and 503 reach the caller, who
    tries again, as the openai client does by itself: then the engine is asked anew.
    """

    def __init__(self, engine_url: str, api_key: str, endpoint: str, *, timeout_s: float = 600.0) -> None:
        self._engine_url = engine_url.rstrip("/")
        self._api_key = api_key
        self._endpoint = endpoint
        self._timeout_s = timeout_s

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """For an ``httpx2.Client``."""
        request.read()
        steps = self._steps(request, time.monotonic() + self._timeout_s)
        step = next(steps)
        while step is not request:
            if not isinstance(step, httpx2.Request):
                time.sleep(step)
                step = next(steps)
                continue
            answer = yield step
            answer.read()
            try:
                step = steps.send(answer)
            except StopIteration:
                return
        yield request

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """For an ``httpx2.AsyncClient``."""
        await request.aread()
        steps = self._steps(request, time.monotonic() + self._timeout_s)
        step = next(steps)
        while step is not request:
            if not isinstance(step, httpx2.Request):
                await asyncio.sleep(step)
                step = next(steps)
                continue
            answer = yield step
            await answer.aread()
            try:
                step = steps.send(answer)
            except StopIteration:
                return
        yield request

    def _steps(self, request: httpx2.Request, until_s: float) -> Generator[Step, httpx2.Response, None]:
        """Ask the engine until it names a worker; then ``request`` itself, which is for that worker by now."""
        cost, request_idx = _cost(request), None
        while True:
            answer = yield self._question(request, cost, request_idx)
            if answer.status_code != 200:
                return
            routed = parse_route_answer(answer.content)
            if isinstance(routed, RouteAnswer):
                break
            if time.monotonic() > until_s:
                raise httpx2.ConnectTimeout(f"no worker of {self._endpoint} became free", request=request)
            request_idx = routed.request_idx
            yield ASK_AGAIN_S
        _send_to(request, routed)
        yield request

    def _question(self, request: httpx2.Request, cost: float, request_idx: int | None) -> httpx2.Request:
        return httpx2.Request(
            "POST",
            f"{self._engine_url}/route/",
            headers={"Authorization": f"Bearer {self._api_key}", "Content-Type": "application/json"},
            content=dump(RouteRequest(self._endpoint, cost=cost, request_idx=request_idx, wait=HOLD_S)),
            extensions=request.extensions,  # its timeouts
        )


def _send_to(request: httpx2.Request, routed: RouteAnswer) -> None:
    worker = httpx2.URL(routed.url)
    request.url = request.url.copy_with(scheme=worker.scheme, host=worker.host, port=worker.port)
    request.headers["Host"] = request.url.netloc.decode()
    request.headers["X-Auth-Data"] = dump_auth_header(
        AuthData(routed.cost, routed.endpoint, routed.reqnum, routed.url, routed.signature, routed.request_idx)
    )
    request.headers.pop("Authorization", None)  # the engine's key is none of the worker's business


def _cost(request: httpx2.Request) -> float:
    """What the worker will count."""
    estimate = ESTIMATES.get(request.url.path)
    if estimate is None:
        return 0.0 if request.method == "GET" else RECORDING_COST
    payload: Any = json.loads(request.content or b"{}")
    return estimate(payload)


def connect(engine_url: str, api_key: str, endpoint: str) -> OpenAI:
    """An ``openai.OpenAI`` for the workers of ``endpoint``. Asks the engine for its root certificate."""
    auth = EndpointAuth(engine_url, api_key, endpoint)
    http = DefaultHttpxClient(auth=auth, verify=_worker_tls(engine_url), follow_redirects=False)
    return OpenAI(base_url=f"{engine_url.rstrip('/')}/v1", api_key=api_key, http_client=http)


def connect_async(engine_url: str, api_key: str, endpoint: str) -> AsyncOpenAI:
    """The same as an ``openai.AsyncOpenAI``. Blocks while it asks for the root certificate."""
    auth = EndpointAuth(engine_url, api_key, endpoint)
    http = DefaultAsyncHttpxClient(auth=auth, verify=_worker_tls(engine_url), follow_redirects=False)
    return AsyncOpenAI(base_url=f"{engine_url.rstrip('/')}/v1", api_key=api_key, http_client=http)


def _worker_tls(engine_url: str) -> ssl.SSLContext:
    """What to check the certificates of engine and workers with: the system's roots, and the engine's own."""
    context = ssl.create_default_context()
    root = httpx2.get(f"{engine_url.rstrip('/')}/static/jvastai_root.cer", follow_redirects=False)
    if root.status_code == 200:
        context.load_verify_locations(cadata=root.text)
    return context


def ask(client: OpenAI, model: str, prompt: str, max_tokens: int) -> None:
    """The models, a whole answer, and one token by token."""
    names = [one.id for one in client.models.list()]
    sys.stdout.write(f"models: {', '.join(names)}\n\n")
    create = client.chat.completions.create
    model, messages = model or names[0], [ChatCompletionUserMessageParam(role="user", content=prompt)]
    whole = create(model=model, messages=messages, max_completion_tokens=max_tokens)
    sys.stdout.write(f"{whole.choices[0].message.content}\n\nstreamed:\n")
    for event in create(
        model=model,
        messages=messages,
        max_completion_tokens=max_tokens,
        stream=True,
        stream_options={"include_usage": True},
    ):
        for choice in event.choices:
            sys.stdout.write(choice.delta.content or "")
            sys.stdout.flush()
        if event.usage:
            sys.stdout.write(f"\n\n{event.usage.total_tokens} tokens\n")


def main() -> int:
    """Run it. Returns the exit status."""
    parser = argparse.ArgumentParser(
        description="Calls an endpoint with the openai client.", parents=[test_args], conflict_handler="resolve"
    )
    parser.add_argument("--model", default="", help="the model's name (default: the first that the server has)")
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--max-tokens", type=int, default=60, metavar="N")
    args = parser.parse_args()
    api_key = args.api_key or os.environ.get("PYWORKER_API_KEY")
    if not api_key:
        parser.error("no API key: give -k or set PYWORKER_API_KEY; `pyworker engine` shows it when it makes one")
    try:
        engine_url = instance_of(args.engine or args.instance).engine_url
        with connect(engine_url, api_key, args.endpoint_group_name) as client:
            ask(client, args.model, args.prompt, args.max_tokens)
    except (PyWorkerError, OpenAIError, httpx2.HTTPError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
