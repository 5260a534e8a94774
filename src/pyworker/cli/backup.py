"""``pyworker backup``."""

from __future__ import annotations

from typing import Annotated

import typer

from pyworker.cli.common import ENGINE_URL, ApiKeyOption, EngineOption, examples, management

__all__ = ["add_to", "backup"]


def add_to(app: typer.Typer) -> None:
    """Put the command where it belongs."""
    app.command(epilog=examples("pyworker backup /var/backups/pyworker.sqlite"))(backup)


def backup(
    path: Annotated[str, typer.Argument(help="A new file on the engine's machine.")],
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
) -> None:
    """Have the engine copy its store into a file, while it serves.

    The copy holds secrets, as the store does.
    """
    management(engine, api_key).back_up(path)
    typer.echo(f"the engine's store is copied to {path} on its machine; keep it secret")
