"""``pyworker new``: a worker's folder to begin with."""

# ruff: noqa: PLC0415
from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pyworker.cli.common import examples

__all__ = ["add_to", "new"]


class StyleName(StrEnum):
    """How the worker is written."""

    DECLARATIVE = "declarative"
    SUBCLASS = "subclass"


class ServerName(StrEnum):
    """What it stands before."""

    OPENAI = "openai"
    TGI = "tgi"
    COMFYUI = "comfyui"
    CUSTOM = "custom"


def add_to(app: typer.Typer) -> None:
    """Put the command where it belongs."""
    app.command(epilog=examples("pyworker new chat --server openai", "pyworker new chat --style subclass"))(new)


def new(
    name: Annotated[str, typer.Argument(help="What it is called: a name that Python can import.")],
    style: Annotated[StyleName, typer.Option("--style", help="One file, or classes.")] = StyleName.DECLARATIVE,
    server: Annotated[ServerName, typer.Option("--server", help="Its model server.")] = ServerName.CUSTOM,
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="Where its folder goes. Default: here")] = Path(),
) -> None:
    """Make a folder with a worker that runs, tests itself and passes `pyworker check`."""
    from pyworker.errors import BadRequest
    from pyworker.scaffold.naming import require_name
    from pyworker.scaffold.rendering import render
    from pyworker.scaffold.writing import write_folder

    try:
        require_name(name)
    except BadRequest as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from None
    folder, files = into / name, render(name, style.value, server.value, python=sys.executable)
    write_folder(folder, files)
    typer.echo(f"made {folder} ({style.value}, before {server.value}):")
    for path in files:
        typer.echo(f"  {path}")
    typer.echo(f"\nNext:\n  cd {folder}\n  make test")
