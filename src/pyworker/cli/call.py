"""``pyworker call``."""

# ruff: noqa: PLC0415
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from pyworker.cli.common import ENGINE_URL, INTERRUPTED, ApiKeyOption, EngineOption, examples, require_key

__all__ = ["add_to", "call"]


def add_to(app: typer.Typer) -> None:
    """Put the command where it belongs."""
    app.command(
        epilog=examples(
            """pyworker call default /generate -d '{"prompt": "What is a proxy?"}'""",
            """pyworker call default /generate_stream --stream -d '{"prompt": "Hi"}'""",
            "pyworker call default /generate -d @request.json --timeout 60",
            "pyworker call default /v1/models --method GET",
            "pyworker call default /upload --body photo.jpg --content-type image/jpeg",
        )
    )(call)


def call(
    endpoint: Annotated[str, typer.Argument(help="The endpoint's name.")],
    route: Annotated[str, typer.Argument(help="The route on its workers, /generate for instance.")],
    data: Annotated[
        str | None, typer.Option("--data", "-d", metavar="JSON", help="The payload; @FILE reads it, - is stdin.")
    ] = None,
    method: Annotated[str, typer.Option("--method", metavar="METHOD", help="The HTTP method.")] = "POST",
    body: Annotated[
        Path | None,
        typer.Option(
            "--body", metavar="FILE", exists=True, dir_okay=False, help="A body to send as it is, no payload."
        ),
    ] = None,
    content_type: Annotated[
        str, typer.Option("--content-type", metavar="TYPE", help="What that body is.")
    ] = "application/octet-stream",
    stream: Annotated[bool, typer.Option("--stream", help="Print the answer as it comes.")] = False,
    cost: Annotated[float, typer.Option(min=0, help="The workload to announce to the engine.")] = 100.0,
    timeout: Annotated[float, typer.Option(min=0, metavar="S", help="Until the answer begins.")] = 600.0,
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
) -> None:
    """Call an endpoint once and print the answer.

    Waits for a worker, and asks for another when that one is full or gone.
    """
    from pyworker.client.client import Client
    from pyworker.client.command import call as call_once
    from pyworker.client.outgoing import Options
    from pyworker.client.waiting import Waiting

    payload = None if data is None else _payload(data)
    if data is None and body is None and method.upper() == "POST":
        raise typer.BadParameter("give a payload, or --body FILE, or another --method", param_hint="-d")
    options = Options(method=method, cost=cost)
    if body is not None:
        options.update(body=body.read_bytes(), headers={"Content-Type": content_type})
    waiting = Waiting(sys.stderr)
    client = Client(engine, require_key(api_key), timeout_s=timeout, on_obstacle=waiting.heard)
    try:
        raise typer.Exit(call_once(client, waiting, endpoint, route, payload, options, stream=stream))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _payload(data: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if data == "-" else Path(data[1:]).read_text() if data.startswith("@") else data
        payload: Any = json.loads(text)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(
            f'{error}; give a JSON object, as -d \'{{"prompt": "..."}}\'', param_hint="-d"
        ) from None
    if not isinstance(payload, dict):
        raise typer.BadParameter("the payload is a JSON object", param_hint="-d")
    return cast("dict[str, Any]", payload)
