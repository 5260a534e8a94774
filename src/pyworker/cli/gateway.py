"""``pyworker gateway``."""

# ruff: noqa: PLC0415
from __future__ import annotations

import typer

from pyworker.cli.common import ENGINE_URL, EngineOption, examples
from pyworker.cli.serving import HostOption, PortOption, TlsCertOption, TlsKeyOption, set_up_log, tls_files

__all__ = ["add_to", "gateway"]


def add_to(app: typer.Typer) -> None:
    """Put the command where it belongs."""
    app.command(
        epilog=examples(
            "pyworker gateway --port 8081", "pyworker gateway --engine https://engine.example:8080 --host 0.0.0.0"
        )
    )(gateway)


def gateway(
    engine: EngineOption = ENGINE_URL,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8081,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
) -> None:
    """Run a gateway beside an engine, where the engine's own has too much to do: as many as are needed.

    It serves /openai/ENDPOINT/v1/... and /endpoints/ENDPOINT/... as the engine does, to the same API keys.
    """
    from pyworker.engine.serve import run
    from pyworker.gateway.serve import serve

    set_up_log()
    run(serve(engine, host, port, tls_files(tls_cert, tls_key), _announce))


def _announce(url: str) -> None:
    typer.echo(f"gateway  {url}")
    typer.echo(f"\nAny OpenAI client:  base_url={url}/openai/ENDPOINT/v1, and an API key of the engine")
