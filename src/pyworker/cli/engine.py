"""``pyworker engine``."""

# ruff: noqa: PLC0415
from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyworker.cli.common import JsonOption, examples

if TYPE_CHECKING:
    from pyworker.engine.core.addresses import Network

__all__ = ["add_to", "engine"]


def add_to(app: typer.Typer) -> None:
    """Put the command where it belongs."""
    app.command(
        epilog=examples(
            "pyworker engine",
            "pyworker engine --port 0 --endpoint llm --endpoint images --json",
            "PYWORKER_API_KEY=... pyworker engine --host 0.0.0.0 --allow-network 10.0.0.0/8",
        )
    )(engine)


def engine(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8080,
    endpoint: Annotated[list[str] | None, typer.Option(metavar="NAME", help="An endpoint; may be repeated.")] = None,
    api_key: Annotated[
        str | None,
        typer.Option("--api-key", "-k", metavar="KEY", envvar="PYWORKER_API_KEY", help="Made and shown when absent."),
    ] = None,
    max_queue_time: Annotated[
        float, typer.Option(min=0, metavar="S", help="A worker with a longer expected wait gets no more requests.")
    ] = 30.0,
    allow_network: Annotated[
        list[str] | None, typer.Option(metavar="CIDR", help="Where workers may be; may be repeated. Default: anywhere.")
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="What it remembers. Default: ~/.local/state/pyworker/engine"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run an engine: it knows the workers and says which one a request goes to.

    It remembers endpoints, keys and workers from one start to the next, and serves until Ctrl-C or SIGTERM.
    """
    import secrets

    from pyworker import logs
    from pyworker.engine.core.addresses import ANYWHERE
    from pyworker.engine.serve import EngineConfig, serve
    from pyworker.settings import LogSettings, environment, state_folder

    names = endpoint or ["default"]
    key = api_key or secrets.token_urlsafe(32)
    networks = [_network(text) for text in allow_network] if allow_network else ANYWHERE
    shown = {"api_key": None if api_key else key, "endpoints": names}
    logs.set_up(LogSettings.from_env(environment()))
    serve(
        EngineConfig(key, names, host, port, max_queue_time, networks),
        data_dir or state_folder(environment()) / "engine",
        lambda running: _announce({"url": running.url, **shown}, as_json=as_json),
    )


def _announce(shown: dict[str, Any], *, as_json: bool) -> None:
    """Say where the engine is, once it listens."""
    if as_json:
        typer.echo(json.dumps(shown))
        return
    key, name = shown["api_key"], shown["endpoints"][0]
    typer.echo(f"engine     {shown['url']}")
    typer.echo(f"endpoints  {', '.join(shown['endpoints'])}")
    typer.echo(f"api key    {key}   (shown only now)" if key else "api key    as given")
    typer.echo("\nNext, in another terminal:")
    typer.echo(f"  export PYWORKER_ENGINE={shown['url']} PYWORKER_API_KEY={key or '...'}")
    typer.echo(f"  pyworker worker token --endpoint {name}    # lets a worker join\n")


def _network(text: str) -> Network:
    from ipaddress import ip_network

    try:
        return ip_network(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; a network is written 10.0.0.0/8", param_hint="--allow-network") from None
