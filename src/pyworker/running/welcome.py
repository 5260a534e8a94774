"""What somebody is told who starts a worker by hand: where it listens, who learns of it, and how to call it."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiohttp import web

from pyworker.api import EndpointHandler
from pyworker.backend import Backend, Handler, Mount

__all__ = ["welcome"]

_SHOWN_CHARS: Final = 40  # of each text in the example's payload
_LONGEST: Final = 500
_NOBODYS: Final = {"cost": 1, "endpoint": "", "reqnum": 1, "url": "", "signature": ""}  # it is not looked at


def welcome(backend: Backend, routes: Iterable[web.AbstractRouteDef], port: int, env: Mapping[str, str]) -> list[str]:
    """Lines for a terminal; none where the worker reports to an engine, which knows all that."""
    if env.get("REPORT_ADDR"):
        return []
    said = [f"It listens on port {port} (WORKER_PORT) and reports to nobody (REPORT_ADDR is not set)."]
    if not backend.unsecured and env.get("UNSECURED", "").lower() not in {"true", "1"}:
        return [
            *said,
            "It refuses every request, since it can check none. To try it by hand, start it again with",
            "    UNSECURED=true WORKER_HOST=127.0.0.1",
            "in front of the command.",
        ]
    call = next(filter(None, (_call(route, port) for route in routes)), None)
    return [*said, "Once it is ready, call it:", f"    {call}"] if call else said


def _call(route: web.AbstractRouteDef, port: int) -> str | None:
    """A command line that calls the route; None when it is not one of the Backend's that take an envelope."""
    mount = getattr(getattr(route, "handler", None), "__self__", None)
    if not isinstance(route, web.RouteDef) or not isinstance(mount, Mount) or route.method != "POST":
        return None
    envelope = json.dumps({"auth_data": _NOBODYS, "payload": _payload(mount.handler)})
    return shlex.join(
        ["curl", f"http://127.0.0.1:{port}{route.path}", "-H", "Content-Type: application/json", "-d", envelope]
    )


def _payload(handler: Handler) -> dict[str, Any]:
    """What its author benchmarks with, its texts cut short; {} where that is not to be had."""
    cls = handler.payload_cls() if isinstance(handler, EndpointHandler) else getattr(handler, "payload_class", None)
    try:
        made = dataclasses.asdict(cls.for_test()) if cls is not None else {}
        short = {name: value[:_SHOWN_CHARS] if isinstance(value, str) else value for name, value in made.items()}
        return short if len(json.dumps(short)) < _LONGEST else {}
    except Exception:  # noqa: BLE001 - it is the author's, and only an example
        return {}
