"""``pyworker run``."""

# ruff: noqa: PLC0415
from __future__ import annotations

from typing import Annotated

import typer

from pyworker.cli.common import examples

__all__ = ["add_to", "run"]


def add_to(app: typer.Typer) -> None:
    """Put the command where it belongs."""
    app.command(epilog=examples("pyworker run workers/hello_world", "pyworker run worker.py"))(run)


def run(target: Annotated[str, typer.Argument(help="A worker's folder or file.")]) -> None:
    """Run a worker in this process; its place comes from the environment."""
    from pyworker.running.here import run_target

    raise typer.Exit(run_target(target))
