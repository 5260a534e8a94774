"""Management calls of an engine, one at a time and without an event loop: for commands and small scripts."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any, Final, cast

from pyworker.client.failures import no_engine, not_an_engine, refused
from pyworker.errors import PyWorkerError
from pyworker.wire import TokenAnswer, TokenRequest, dump, parse

__all__ = ["fetch", "issue_token", "list_endpoints"]

PATIENCE_S: Final = 15.0


def issue_token(engine_url: str, api_key: str, query: TokenRequest) -> TokenAnswer:
    """A new worker's secrets. Raises EngineUnreachable, EngineRefused."""
    answered = fetch(f"{engine_url.rstrip('/')}/api/v0/worker_tokens/", api_key, dump(query))
    try:
        return parse(answered, TokenAnswer)
    except PyWorkerError as error:
        raise not_an_engine(engine_url, error) from None


def list_endpoints(web_url: str, api_key: str) -> list[dict[str, Any]]:
    """The endpoints of an account. Raises EngineUnreachable, EngineRefused."""
    answered = fetch(f"{web_url.rstrip('/')}/api/v0/endptjobs/", api_key)
    try:
        return cast("list[dict[str, Any]]", json.loads(answered)["results"])
    except (ValueError, KeyError, TypeError):
        raise not_an_engine(web_url, "no list of endpoints") from None


def fetch(url: str, api_key: str | None = None, body: bytes | None = None) -> bytes:
    """GET, or POST when there is a body. Raises EngineUnreachable, EngineRefused."""
    headers = {"Content-Type": "application/json"}
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    try:
        request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 - the opener has no other schemes
        with _opener().open(request, timeout=PATIENCE_S) as response:
            return cast("bytes", response.read())
    except urllib.error.HTTPError as error:
        with error:
            raise refused(error.code, error.read()) from None
    except (OSError, HTTPException, ValueError) as error:
        raise no_engine(url, error) from None


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS only, and no redirects: a key is sent nowhere else."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener
