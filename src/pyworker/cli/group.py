"""``pyworker group``: workers that are made alike, and how they are brought up to date."""

# ruff: noqa: PLC0415
from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

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
    fail,
    management,
)
from pyworker.cli.finding import endpoint_called, full_name, group_called, own_name
from pyworker.cli.logs import FollowOption, Level, LevelOption, TailOption, show_logs
from pyworker.cli.making import make_groups
from pyworker.cli.output import moment, say_json, show_fields, show_table

if TYPE_CHECKING:
    from pyworker.client.management import Management
    from pyworker.engine.core.parameters import GroupParameters
    from pyworker.wire_management import GroupInfo

__all__ = ["app", "create", "delete", "list_", "logs", "show", "update"]

app = typer.Typer(help="Workergroups: workers made alike, and how they are updated.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="The workergroup: its name, ENDPOINT/NAME, or its id.")]
EndpointOption = Annotated[str | None, typer.Option("--endpoint", "-e", metavar="NAME", help="Those of one endpoint.")]
COLUMNS = ("id", "endpoint", "name", "provider", "max workers", "version", "updating from", "why")
AT_ONCE: Final = {"max_workers", "test_workers"}  # what holds without a worker being started anew


@app.command("list", epilog=examples("pyworker group list", "pyworker group list --endpoint hello --json"))
def list_(
    endpoint: EndpointOption = None,
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the workergroups."""
    asked = management(engine, api_key)
    chosen = endpoint_called(asked.endpoints(), endpoint).id if endpoint else None
    found = [group for group in asked.groups() if chosen in {None, group.endpoint_id}]
    if as_json:
        say_json(found)
        return
    rows = [
        (
            each.id,
            each.endpoint_name,
            own_name(each),
            each.provider,
            each.max_workers,
            each.version,
            each.updating_from,
            each.condition,
        )
        for each in found
    ]
    show_table(COLUMNS, rows, empty="there is no workergroup: make one with `pyworker group create`")


@app.command(
    epilog=examples(
        "pyworker group create -e hello -f deployment.toml",
        "pyworker group create big -e hello -f deployment.toml --set max_workers=2",
        "pyworker group create rented -e hello",
    )
)
def create(
    endpoint: Annotated[str, typer.Option("--endpoint", "-e", metavar="NAME", help="The endpoint that it serves.")],
    name: Annotated[str | None, typer.Argument(help="One of the file's; all of them when left out.")] = None,
    file: FileOption = None,
    set_: SetOption = None,
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make workergroups as a file describes them; without one, a group whose workers join with a token.

    When one of them cannot be made, none is.
    """
    changes = parameters.assignments(set_)
    wanted = [parameters.group_parameters(group, changes) for group in _described(file, name)]
    for group in wanted:
        if group.launch is None and group.provider != "external":
            fail(f"workers of the provider {group.provider} need their commands: describe them in a file, with -f")
    asked = management(engine, api_key)
    served = endpoint_called(asked.endpoints(), endpoint).endpoint_name
    made = make_groups(asked, served, wanted)
    if as_json:
        say_json([{"id": group_id, "name": group.name} for group, group_id in zip(wanted, made, strict=True)])
        return
    for group, group_id in zip(wanted, made, strict=True):
        typer.echo(f"workergroup {served}/{group.name} is made (id {group_id})")
    is_external = all(group.provider == "external" for group in wanted)
    typer.echo(f"\nNext: pyworker worker {'token' if is_external else 'list'} -e {served}")


@app.command(epilog=examples("pyworker group show default", "pyworker group show hello/default --json"))
def show(
    name: NameArgument, engine: EngineOption = ENGINE_URL, api_key: ApiKeyOption = None, as_json: JsonOption = False
) -> None:
    """Show a workergroup. Its environment is not shown: it may hold secrets."""
    import shlex

    import msgspec

    found = group_called(management(engine, api_key).groups(), name)
    if as_json:
        say_json(found)
        return
    shown = {
        "created_at": moment(found.created_at),
        "command": shlex.join(found.command or ()),
        "model_command": shlex.join(found.model_command or ()),
    }
    show_fields({**msgspec.structs.asdict(found), **shown})


@app.command(
    epilog=examples(
        "pyworker group update default",
        "pyworker group update hello/default -f deployment.toml",
        "pyworker group update default --set max_workers=8",
        "pyworker group update default --cancel",
    )
)
def update(
    name: NameArgument,
    file: FileOption = None,
    set_: SetOption = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Call a rolling update off.")] = False,
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
) -> None:
    """Bring a workergroup's workers up to date, one after the other, without a lost request.

    -f takes the description from a file first. max_workers and test_workers alone hold at once, without an update.
    """
    changes = parameters.assignments(set_)
    if cancel and (changes or file):
        raise typer.BadParameter("calls an update off, and takes neither -f nor --set", param_hint="--cancel")
    asked = management(engine, api_key)
    group = group_called(asked.groups(), name)
    changed = {} if cancel else _changed(group, file, changes)
    if changed:
        asked.change_group(group.id, changed)
        _say_changed(group, group_called(asked.groups(), str(group.id)), changed)
    if changed and changed.keys() <= AT_ONCE:
        return
    if not changed or _version(asked, group) == group.version:
        asked.update_workers(group.id, cancel=cancel)
    typer.echo(f"the update of {full_name(group)} is {'called off' if cancel else 'begun'}")
    typer.echo(f"\nNext: pyworker group logs {full_name(group)} --follow")


@app.command(epilog=examples("pyworker group delete default", "pyworker group delete hello/default --yes"))
def delete(
    name: NameArgument, yes: YesOption = False, engine: EngineOption = ENGINE_URL, api_key: ApiKeyOption = None
) -> None:
    """Remove a workergroup with its workers."""
    asked = management(engine, api_key)
    found = group_called(asked.groups(), name)
    confirm(f"Delete workergroup {full_name(found)} with its workers?", yes=yes)
    asked.delete_group(found.id)
    typer.echo(f"workergroup {full_name(found)} is deleted")


@app.command(epilog=examples("pyworker group logs default --follow", "pyworker group logs hello/default --tail 20"))
def logs(
    name: NameArgument,
    tail: TailOption = 100,
    following: FollowOption = False,
    level: LevelOption = Level.INFO1,
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the engine decided for a workergroup, and why."""
    asked = management(engine, api_key)
    found = group_called(asked.groups(), name)
    show_logs(lambda: asked.group_logs(found.id, tail), level, tail, following=following, as_json=as_json)


def _say_changed(before: GroupInfo, after: GroupInfo, told: dict[str, Any]) -> None:
    """What has changed of what the engine was told. A launch is not shown: another one has another version."""
    shown = (name for name in told if getattr(before, name, None) != getattr(after, name, None))
    changed = sorted([*shown, *(("launch",) if "launch" in told and after.version != before.version else ())])
    words = f"is changed: {', '.join(changed)}" if changed else "was as the file says"
    typer.echo(f"workergroup {full_name(before)} {words}")


def _version(asked: Management, group: GroupInfo) -> int:
    """As it is now: with another launch the engine begins the update by itself."""
    return group_called(asked.groups(), str(group.id)).version


def _described(file: str | None, name: str | None) -> list[GroupParameters]:
    """The file's workergroups, or the one of them that is named; without a file, one that is external."""
    from pyworker.engine.core.parameters import GroupParameters

    if file is None:
        return [GroupParameters(name=name or GroupParameters().name)]
    groups = parameters.deployment(file).groups
    found = [group for group in groups if name in {None, group.name}]
    if not found:
        fail(f"{file} describes no workergroup {name!r}: there is {', '.join(group.name for group in groups)}")
    return found


def _changed(group: GroupInfo, file: str | None, changes: dict[str, Any]) -> dict[str, Any]:
    """What the engine is to be told, by field."""
    wanted = parameters.group_parameters(_described(file, own_name(group))[0], changes)
    fields = parameters.group_body(group.endpoint_name, wanted)
    named = fields.keys() - {"endpoint_name", "template_hash", "name"} if file else changes.keys()
    return {key: value for key, value in fields.items() if key in named}
