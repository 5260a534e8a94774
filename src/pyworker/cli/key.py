"""``pyworker key``: who may ask the engine, and what it signs with."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from pyworker.cli.common import (
    ENGINE_URL,
    ApiKeyOption,
    EngineOption,
    JsonOption,
    YesOption,
    confirm,
    examples,
    management,
)
from pyworker.cli.output import moment, say_json, show_table

__all__ = ["Kind", "app", "create", "list_", "revoke", "rotate"]

app = typer.Typer(help="Keys: the account's, and those that the engine signs with.", no_args_is_help=True)

COLUMNS = ("id", "name", "created", "last used", "revoked")


class Kind(Enum):
    """What the engine signs with: RSA for the workers of others, tickets for ours."""

    RSA = "rsa"
    TICKET = "ticket"


@app.command("list", epilog=examples("pyworker key list", "pyworker key list --json"))
def list_(engine: EngineOption = ENGINE_URL, api_key: ApiKeyOption = None, as_json: JsonOption = False) -> None:
    """List the account's keys. The keys themselves are not kept, only what recognises them."""
    found = management(engine, api_key).keys()
    if as_json:
        say_json(found)
        return
    rows = [
        (key.id, key.name, moment(key.created_epoch_s), moment(key.last_used_epoch_s), moment(key.revoked_epoch_s))
        for key in found
    ]
    show_table(COLUMNS, rows, empty="there is no key: make one with `pyworker key create`")


@app.command(epilog=examples("pyworker key create laptop", "pyworker key create ci --json"))
def create(
    name: Annotated[str, typer.Argument(help="What it is for, or whose it is; for people.")],
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make another account key. It is shown this once."""
    made = management(engine, api_key).create_key(name)
    if as_json:
        say_json({"id": made.id, "name": name, "api_key": made.api_key})
        return
    typer.echo(made.api_key)
    typer.echo(f"this key (id {made.id}) is shown only now; take it back with: pyworker key revoke {made.id}", err=True)


@app.command(epilog=examples("pyworker key revoke 2", "pyworker key revoke 2 --yes"))
def revoke(
    key_id: Annotated[int, typer.Argument(metavar="ID", help="The key's number, as `pyworker key list` shows.")],
    yes: YesOption = False,
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
) -> None:
    """Take an account key back: from now on nobody gets in with it."""
    asked = management(engine, api_key)
    confirm(f"Revoke key {key_id}? Whoever uses it is refused from then on.", yes=yes)
    asked.revoke_key(key_id)
    typer.echo(f"key {key_id} is revoked")


@app.command(epilog=examples("pyworker key rotate rsa", "pyworker key rotate ticket"))
def rotate(
    kind: Annotated[Kind, typer.Argument(help="rsa, or ticket.")],
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
) -> None:
    """Have the engine sign with a new key. What it signed with the old one stays good for a while."""
    management(engine, api_key).rotate_key(kind.value)
    typer.echo(f"the engine signs with a new key now ({kind.value})")
