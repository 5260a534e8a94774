"""``pyworker backup``."""

from __future__ import annotations

from typing import Annotated

import typer

from pyworker.cli.common import ENGINE_URL, ApiKeyOption, EngineOption, examples, management

__all__ = ["add_to", "backup"]


def add_to(app: typer.Typer) -> None:
    """Put the command where it belongs."""
    app.command(epilog=examples("pyworker backup /var/backups/pyworker-monday"))(backup)


def backup(
    path: Annotated[str, typer.Argument(help="A new folder on the engine's machine, as an absolute path.")],
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
) -> None:
    """Have the engine copy all that it keeps into a folder, while it serves. The copy holds its secrets."""
    management(engine, api_key).back_up(path)
    typer.echo(f"what the engine keeps is copied to {path} on its machine; keep it secret")
