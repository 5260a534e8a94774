"""The command ``pyworker``. What a command needs is imported when it runs, so that ``--help`` is quick."""

# ruff: noqa: PLC0415
from __future__ import annotations

from typing import Annotated

import typer

from pyworker.cli import backup, call, check, endpoint, engine, gateway, group, key, load, new, run, up, worker
from pyworker.cli.common import fail

__all__ = ["app", "main"]

app = typer.Typer(
    name="pyworker",
    help="The server beside a model server, and the engine it reports to.\n\n"
    "Ends with status 0 when all went well, 1 when something failed, 2 when the command was not understood.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
for part in (check, new, up, engine, gateway, run, call, load, backup):
    part.add_to(app)
for name, part in (("endpoint", endpoint), ("group", group), ("worker", worker), ("key", key)):
    app.add_typer(part.app, name=name)


def main() -> None:
    """Entry point: a failure is one message that says what to do, never a traceback."""
    try:
        app(prog_name="pyworker")
    except Exception as error:
        from pyworker.errors import PyWorkerError

        if not isinstance(error, PyWorkerError):
            raise
        fail(str(error))


def _version(wanted: bool) -> None:
    if wanted:
        from pyworker.version import __version__

        typer.echo(f"pyworker {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    """Takes the options that stand before a command."""
