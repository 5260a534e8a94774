"""``pyworker endpoint``: the names that clients ask for, and how they scale."""

# ruff: noqa: PLC0415
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyworker.cli import parameters
from pyworker.cli.common import (
    ENGINE_URL,
    ApiKeyOption,
    EngineOption,
    FileOption,
    JsonOption,
    SetOption,
    YesOption,
    confirm,
    examples,
    management,
)
from pyworker.cli.finding import endpoint_called
from pyworker.cli.logs import FollowOption, Level, LevelOption, TailOption, show_logs
from pyworker.cli.making import make_groups
from pyworker.cli.output import moment, say_json, show_fields, show_table

if TYPE_CHECKING:
    from pyworker.client.management import Management
    from pyworker.engine.core.parameters import GroupParameters
    from pyworker.wire import EndpointInfo

__all__ = ["app", "create", "delete", "list_", "logs", "new_key", "show", "update"]

app = typer.Typer(help="Endpoints: the names that clients ask for, and how they scale.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="The endpoint's name or id.")]
BESIDE_PARAMETERS = ("endpoint_state", "auto_delete_in_seconds")
COLUMNS = ("id", "name", "state", "min load", "cold workers", "max workers", "max queue time", "created")


@app.command("list", epilog=examples("pyworker endpoint list", "pyworker endpoint list --json"))
def list_(engine: EngineOption = ENGINE_URL, api_key: ApiKeyOption = None, as_json: JsonOption = False) -> None:
    """List the endpoints. Loads are in workload/s, times in s."""
    found = management(engine, api_key).endpoints()
    if as_json:
        say_json(found)
        return
    rows = [
        (
            each.id,
            each.endpoint_name,
            each.endpoint_state,
            each.min_load,
            each.cold_workers,
            each.max_workers,
            each.max_queue_time,
            moment(each.created_at),
        )
        for each in found
    ]
    show_table(COLUMNS, rows, empty="there is no endpoint: make one with `pyworker endpoint create NAME`")


@app.command(
    epilog=examples(
        "pyworker endpoint create hello --set min_load=0 --set max_workers=4",
        "pyworker endpoint create -f workers/hello_world",
        "pyworker endpoint create trial -f deployment.toml --set max_workers=1",
    )
)
def create(
    name: Annotated[str | None, typer.Argument(help="What clients ask for; the file's when left out.")] = None,
    file: FileOption = None,
    set_: SetOption = None,
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an endpoint; from a file with its workergroups, else without any.

    When a workergroup cannot be made, the endpoint is removed again.
    """
    described = parameters.deployment(file) if file else None
    name = name or (described.name if described else None)
    if name is None:
        raise typer.BadParameter("give the endpoint's name, or a deployment with -f", param_hint="NAME")
    base = described.parameters if described else None
    wanted = parameters.endpoint_parameters(base, parameters.assignments(set_))
    asked = management(engine, api_key)
    endpoint_id = asked.create_endpoint({"endpoint_name": name, **_fields(wanted)})
    groups = described.groups if described else ()
    group_ids = _make_groups(asked, endpoint_id, name, groups)
    if as_json:
        say_json({"id": endpoint_id, "endpoint_name": name, "workergroup_ids": group_ids})
    else:
        _say_made(name, endpoint_id, groups)


@app.command(epilog=examples("pyworker endpoint show hello", "pyworker endpoint show hello --json"))
def show(
    name: NameArgument, engine: EngineOption = ENGINE_URL, api_key: ApiKeyOption = None, as_json: JsonOption = False
) -> None:
    """Show an endpoint: its own key, its parameters, how many workers are in which state, and how its groups are."""
    asked = management(engine, api_key)
    found = endpoint_called(asked.endpoints(), name)
    if as_json:
        say_json(found)
        return
    fields: dict[str, Any] = {**_fields(found), "created_at": moment(found.created_at)}
    conditions = {
        f"group {group.name}": group.condition
        for group in asked.groups()
        if group.endpoint_id == found.id and group.condition
    }
    show_fields({**fields, "workers": _counts(asked, found), **conditions})


@app.command(
    epilog=examples(
        "pyworker endpoint update hello --set max_workers=8 --set min_load=100",
        "pyworker endpoint update hello --set endpoint_state=stopped",
        "pyworker endpoint update hello --set auto_delete_in_seconds=-1",
        "pyworker endpoint update hello -f deployment.toml",
    )
)
def update(
    name: NameArgument,
    set_: SetOption = None,
    file: FileOption = None,
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
) -> None:
    """Give an endpoint other parameters; what is not named stays. They hold at once, no worker is started anew.

    endpoint_state=stopped lets it rest, endpoint_state=active goes on. auto_delete_in_seconds=3600 deletes it with its
    workers in an hour, auto_delete_in_seconds=-1 takes that back.
    """
    changes = parameters.assignments(set_)
    state = {name: changes.pop(name) for name in BESIDE_PARAMETERS if name in changes}
    wanted = parameters.endpoint_parameters(parameters.deployment(file).parameters if file else None, changes)
    changed = state | {key: value for key, value in _fields(wanted).items() if file or key in changes}
    if not changed:
        raise typer.BadParameter("say what is to change, as --set max_workers=4, or with -f", param_hint="--set")
    asked = management(engine, api_key)
    found = endpoint_called(asked.endpoints(), name)
    asked.change_endpoint(found.id, changed)
    differs = sorted(key for key, value in changed.items() if getattr(found, key) != value)
    typer.echo(f"endpoint {found.endpoint_name} {'is changed: ' + ', '.join(differs) if differs else 'was so already'}")


@app.command("new-key", epilog=examples("pyworker endpoint new-key hello", "pyworker endpoint new-key hello --yes"))
def new_key(
    name: NameArgument, yes: YesOption = False, engine: EngineOption = ENGINE_URL, api_key: ApiKeyOption = None
) -> None:
    """Give an endpoint another key of its own, and print it. The one before opens nothing any more."""
    asked = management(engine, api_key)
    found = endpoint_called(asked.endpoints(), name)
    confirm(f"Make a new key for endpoint {found.endpoint_name}? Whoever uses the old one is refused.", yes=yes)
    typer.echo(asked.new_endpoint_key(found.id))


@app.command(epilog=examples("pyworker endpoint delete hello", "pyworker endpoint delete hello --yes"))
def delete(
    name: NameArgument, yes: YesOption = False, engine: EngineOption = ENGINE_URL, api_key: ApiKeyOption = None
) -> None:
    """Remove an endpoint with its workergroups and workers."""
    asked = management(engine, api_key)
    found = endpoint_called(asked.endpoints(), name)
    confirm(f"Delete endpoint {found.endpoint_name} ({_counts(asked, found)})?", yes=yes)
    asked.delete_endpoint(found.id)
    typer.echo(f"endpoint {found.endpoint_name} is deleted")


@app.command(epilog=examples("pyworker endpoint logs hello --follow", "pyworker endpoint logs hello --level debug"))
def logs(
    name: NameArgument,
    tail: TailOption = 100,
    following: FollowOption = False,
    level: LevelOption = Level.INFO1,
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the engine decided for an endpoint, and why."""
    asked = management(engine, api_key)
    found = endpoint_called(asked.endpoints(), name)
    show_logs(lambda: asked.endpoint_logs(found.id, tail), level, tail, following=following, as_json=as_json)


def _make_groups(asked: Management, endpoint_id: int, name: str, groups: Sequence[GroupParameters]) -> list[int]:
    """All of them, or none and no endpoint."""
    from pyworker.errors import EngineRefused

    try:
        return make_groups(asked, name, groups)
    except EngineRefused:
        asked.delete_endpoint(endpoint_id)
        raise


def _say_made(name: str, endpoint_id: int, groups: Sequence[GroupParameters]) -> None:
    typer.echo(f"endpoint {name} is made (id {endpoint_id})")
    for group in groups:
        typer.echo(f"workergroup {name}/{group.name} is made ({group.provider})")
    if groups:
        typer.echo(f"\nNext: pyworker endpoint logs {name} --follow")
    else:
        typer.echo(f"\nNext: pyworker group create -e {name} -f deployment.toml")


def _fields(message: Any) -> dict[str, Any]:
    import msgspec

    return msgspec.structs.asdict(message)


def _counts(asked: Management, endpoint: EndpointInfo) -> str:
    """``2 IDLE, 1 STOPPED``."""
    from collections import Counter

    counts = Counter(worker.status for worker in asked.workers(endpoint.id))
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "no workers"
