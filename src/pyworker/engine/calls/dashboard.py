"""The dashboard's own calls: its files, login and logout, and a test request through the gateway."""

from __future__ import annotations

import hashlib
import secrets
import time
from importlib import resources
from typing import Final, NamedTuple

import yarl
from aiohttp import web
from multidict import CIMultiDict

from pyworker.engine.calls import cookie
from pyworker.engine.calls.http import ENGINE, answer, body_of
from pyworker.engine.core.derived import digest
from pyworker.engine.core.logins import require_same_site
from pyworker.errors import WrongKey
from pyworker.gateway.asked import PLAIN
from pyworker.gateway.gateway import Gateway
from pyworker.wire import convert
from pyworker.wire_dashboard import LoginAnswer, LoginRequest

__all__ = ["ASSETS", "GATEWAY", "ROUTES", "Asset", "on_prepare", "read_assets"]


class Asset(NamedTuple):
    """A file of the page."""

    body: bytes
    content_type: str
    tag: str  # changes when the file does


ASSETS: Final = web.AppKey("assets", dict[str, Asset])
GATEWAY: Final = web.AppKey("gateway", Gateway)

TRY: Final = "/dashboard/try"
_IS_TRIAL: Final = web.RequestKey("is_trial", bool)
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_PASSED_ON: Final = ("Accept", "Content-Length", "Content-Type", "Transfer-Encoding", "X-Cost")
_NOT_FROM_WORKERS: Final = ("Set-Cookie", "Clear-Site-Data")  # they would act on the page's own site
_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def read_assets() -> dict[str, Asset]:
    """The page's files by name. Blocks."""
    found: dict[str, Asset] = {}
    for file in resources.files("pyworker.engine").joinpath("dashboard").iterdir():
        kind = _TYPES.get("." + file.name.rpartition(".")[2])
        if kind is not None:
            body = file.read_bytes()
            found[file.name] = Asset(body, kind, f'"{hashlib.sha256(body).hexdigest()[:16]}"')
    return found


async def page(request: web.Request) -> web.Response:
    """The dashboard."""
    return _asset(request, "index.html")


async def asset(request: web.Request) -> web.Response:
    """One of its files."""
    return _asset(request, request.match_info["name"])


def _asset(request: web.Request, name: str) -> web.Response:
    found = request.app[ASSETS].get(name)
    if found is None:
        raise web.HTTPNotFound()
    headers = {**_HEADERS, "ETag": found.tag}
    if request.headers.get("If-None-Match") == found.tag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=found.body, content_type=found.content_type, charset="utf-8", headers=headers)


async def is_logged_in(request: web.Request) -> web.Response:
    """Whether the cookie that comes with this call opens anything."""
    try:
        cookie.account_of_login(request, request.app[ENGINE])
    except WrongKey:
        return answer(LoginAnswer(logged_in=False))
    return answer(LoginAnswer(logged_in=True))


async def log_in(request: web.Request) -> web.Response:
    """A cookie for an account key."""
    engine = request.app[ENGINE]
    require_same_site(request.method, request.headers, request.host)
    key = convert(await body_of(request), LoginRequest).api_key.strip()
    engine.keys.require_account(key)
    token = secrets.token_urlsafe(32)
    engine.logins.open(token, digest(key), time.monotonic())
    response = answer(LoginAnswer(logged_in=True))
    cookie.give(response, token, secure=request.secure or engine.config.public_url.startswith("https:"))
    return response


async def log_out(request: web.Request) -> web.Response:
    """The cookie opens nothing any more."""
    require_same_site(request.method, request.headers, request.host)
    request.app[ENGINE].logins.close(cookie.token_in(request) or "")
    response = answer(LoginAnswer(logged_in=False))
    cookie.take_away(response)
    return response


async def trial(request: web.Request) -> web.StreamResponse:
    """Any request to a worker, as any client of the gateway would send it; it is not kept.

    It goes with the endpoint's own key, which the page never sees.
    """
    engine = request.app[ENGINE]
    cookie.account_of_login(request, engine, always=True)
    endpoint = engine.registry.endpoint(request.match_info["endpoint"])
    headers = CIMultiDict((name, request.headers[name]) for name in _PASSED_ON if name in request.headers)
    headers["Authorization"] = f"Bearer {engine.keys.endpoint_key(endpoint)}"
    target = yarl.URL(f"/{PLAIN}{request.raw_path.removeprefix(TRY)}", encoded=True)
    request[_IS_TRIAL] = True
    return await request.app[GATEWAY].handle(request.clone(headers=headers, rel_url=target))


async def on_prepare(request: web.Request, response: web.StreamResponse) -> None:
    """A worker's answer to a test request comes from the page's own site: it may do nothing there."""
    if request.get(_IS_TRIAL):
        for name in _NOT_FROM_WORKERS:
            response.headers.popall(name, None)
        response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
        response.headers["X-Content-Type-Options"] = "nosniff"


ROUTES: Final = (
    web.get("/", page),
    web.get("/dashboard/{name}", asset),
    web.get("/login", is_logged_in),
    web.post("/login", log_in),
    web.post("/logout", log_out),
    web.route("*", TRY + "/{endpoint}/{route:.*}", trial),
)
