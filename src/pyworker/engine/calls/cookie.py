"""The dashboard's cookie: what it opens, and for whom."""

from __future__ import annotations

import time
from typing import Final

from aiohttp import web

from pyworker.engine.core.logins import LOGIN_S, require_same_site
from pyworker.engine.engine import Engine
from pyworker.errors import WrongKey

__all__ = ["account_of_login", "give", "opens", "take_away", "token_in"]

COOKIE: Final = "pyworker_login"
# What the page asks for, and nothing else: no keys, no tokens, nothing that deletes.
OPENED: Final = frozenset(
    {
        ("GET", "/state"),
        ("GET", "/events"),
        ("PUT", "/api/v0/endptjobs/{id}/"),
        ("POST", "/update_workers/"),
        ("POST", "/get_endpoint_logs/"),
        ("GET", "/api/v0/workers/{id}/logs/"),
    }
)


def token_in(request: web.Request) -> str | None:
    """The login that a browser shows."""
    return request.cookies.get(COOKIE)


def opens(request: web.Request) -> bool:
    """Whether a login opens this call."""
    resource = request.match_info.route.resource
    return resource is not None and (request.method, resource.canonical) in OPENED


def account_of_login(request: web.Request, engine: Engine, *, always: bool = False) -> bytes:
    """The digest of the account key behind a call's cookie. Raises WrongKey, CrossSite (see ``require_same_site``)."""
    require_same_site(request.method, request.headers, request.host, always=always)
    account = engine.logins.account(token_in(request) or "", time.monotonic())
    if account is None or not engine.keys.knows(account):
        raise WrongKey("you are not logged in, or no longer: log in with an account key")
    return account


def give(response: web.Response, token: str, *, secure: bool) -> None:
    """Have the browser keep it; over TLS it is never shown without."""
    response.set_cookie(COOKIE, token, max_age=int(LOGIN_S), path="/", httponly=True, samesite="Strict", secure=secure)


def take_away(response: web.Response) -> None:
    """Have the browser forget it."""
    response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
