"""What commands share: their options, the engine they ask, and how they fail."""

# ruff: noqa: PLC0415
from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

if TYPE_CHECKING:
    from pyworker.client.management import Management

__all__ = [
    "ENGINE_URL",
    "FAILED",
    "INTERRUPTED",
    "ApiKeyOption",
    "EngineOption",
    "FileOption",
    "JsonOption",
    "SetOption",
    "YesOption",
    "confirm",
    "examples",
    "fail",
    "management",
    "require_key",
]

ENGINE_URL: Final = "http://127.0.0.1:8080"
FAILED, INTERRUPTED = 1, 130

EngineOption = Annotated[str, typer.Option("--engine", metavar="URL", envvar="PYWORKER_ENGINE", help="The engine.")]
ApiKeyOption = Annotated[
    str | None,
    typer.Option("--api-key", "-k", metavar="KEY", envvar="PYWORKER_API_KEY", help="The account's or endpoint's key."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter; may be repeated.")
]
FileOption = Annotated[
    str | None, typer.Option("--file", "-f", metavar="FILE", help="A deployment.toml, or a folder with one.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether it is meant.")]


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "[bold]Examples[/bold]\n\n" + "\n\n".join(f"  [cyan]{line}[/cyan]" for line in lines)


def management(engine_url: str, api_key: str | None) -> Management:
    """The engine's management calls with the account's key."""
    from pyworker.client.management import Management

    return Management(engine_url, require_key(api_key))


def require_key(api_key: str | None) -> str:
    """The key; without one the command ends."""
    if not api_key:
        fail("no API key: set PYWORKER_API_KEY or give --api-key; `pyworker engine` shows it when it makes one")
    return api_key


def confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal; elsewhere the command ends unless the answer was given."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail(f"{question} Say so with --yes.")
    typer.confirm(question, abort=True)


def fail(message: str) -> NoReturn:
    """End with status 1."""
    typer.secho(f"error: {message}", err=True, fg=typer.colors.RED if sys.stderr.isatty() else None)
    raise SystemExit(FAILED)
