"""``pyworker key``: who may ask the engine, and what it signs with."""

# ruff: noqa: PLC0415
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

__all__ = ["Kind", "app", "create", "list_", "revoke", "rotate", "update"]

app = typer.Typer(help="Keys: the account's, and those that the engine signs with.", no_args_is_help=True)

COLUMNS = ("id", "name", "created", "last used", "revoked", "requests a minute", "workload a minute", "at once")

IdArgument = Annotated[int, typer.Argument(metavar="ID", help="The key's number, as `pyworker key list` shows.")]
RequestsOption = Annotated[
    float | None, typer.Option("--requests-per-minute", metavar="N", help="How many requests it may begin; 0: any.")
]
WorkloadOption = Annotated[
    float | None,
    typer.Option("--workload-per-minute", metavar="W", help="How much work they may be, as workers count it; 0: any."),
]
ConcurrentOption = Annotated[
    int | None, typer.Option("--concurrent", metavar="C", help="How many may wait or be served at once; 0: any.")
]


class Kind(Enum):
    """What the engine signs with: RSA for the workers of others, tickets for ours."""

    RSA = "rsa"
    TICKET = "ticket"


@app.command("list", epilog=examples("pyworker key list", "pyworker key list --json"))
def list_(engine: EngineOption = ENGINE_URL, api_key: ApiKeyOption = None, as_json: JsonOption = False) -> None:
    """List the account's keys, with their limits. The keys themselves are not kept, only what recognises them."""
    found = management(engine, api_key).keys()
    if as_json:
        say_json(found)
        return
    rows = [
        (
            *(key.id, key.name, moment(key.created_epoch_s), moment(key.last_used_epoch_s)),
            moment(key.revoked_epoch_s),
            *(limit or "" for limit in (key.requests_per_minute, key.workload_per_minute, key.concurrent)),
        )
        for key in found
    ]
    show_table(COLUMNS, rows, empty="there is no key: make one with `pyworker key create`")


@app.command(
    epilog=examples("pyworker key create laptop", "pyworker key create ci --requests-per-minute 60 --concurrent 4")
)
def create(
    name: Annotated[str, typer.Argument(help="What it is for, or whose it is; for people.")],
    requests_per_minute: RequestsOption = None,
    workload_per_minute: WorkloadOption = None,
    concurrent: ConcurrentOption = None,
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make another account key. It is shown this once."""
    from pyworker.wire_management import KeyRequest

    wanted = KeyRequest(
        name=name,
        requests_per_minute=requests_per_minute,
        workload_per_minute=workload_per_minute,
        concurrent=concurrent,
    )
    made = management(engine, api_key).create_key(wanted)
    if as_json:
        say_json({"id": made.id, "name": name, "api_key": made.api_key})
        return
    typer.echo(made.api_key)
    typer.echo(f"this key (id {made.id}) is shown only now; take it back with: pyworker key revoke {made.id}", err=True)


@app.command(
    epilog=examples("pyworker key update 2 --requests-per-minute 60", "pyworker key update 2 --workload-per-minute 0")
)
def update(
    key_id: IdArgument,
    requests_per_minute: RequestsOption = None,
    workload_per_minute: WorkloadOption = None,
    concurrent: ConcurrentOption = None,
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
) -> None:
    """Give an account key other limits; what is not named stays. They hold at once, for new requests."""
    from pyworker.wire_management import KeyChange

    change = KeyChange(
        requests_per_minute=requests_per_minute, workload_per_minute=workload_per_minute, concurrent=concurrent
    )
    if change == KeyChange():
        raise typer.BadParameter("say which limit, as --requests-per-minute 60", param_hint="--requests-per-minute")
    management(engine, api_key).limit_key(key_id, change)
    typer.echo(f"key {key_id} has other limits now")


@app.command(epilog=examples("pyworker key revoke 2", "pyworker key revoke 2 --yes"))
def revoke(
    key_id: IdArgument,
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
