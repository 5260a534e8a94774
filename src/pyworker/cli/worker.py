"""``pyworker worker``: the workers that an engine knows."""

# ruff: noqa: PLC0415
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

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
    require_key,
)
from pyworker.cli.finding import PlacedWorker, all_workers, shown_id, worker_called
from pyworker.cli.logs import TailOption
from pyworker.cli.output import moment, say_json, show_fields, show_lines, show_table

if TYPE_CHECKING:
    from pyworker.wire import TokenAnswer

__all__ = ["app", "delete", "list_", "logs", "show", "start", "stop", "token"]

app = typer.Typer(help="Workers: how they are, their logs, and tokens that let your own join.", no_args_is_help=True)

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The worker's id, as `pyworker worker list` shows; n7 where two have one.")
]
EndpointOption = Annotated[str | None, typer.Option("--endpoint", "-e", metavar="NAME", help="Those of one endpoint.")]
COLUMNS = ("id", "state", "load", "capacity", "requests", "endpoint", "group", "url", "why")


@app.command("list", epilog=examples("pyworker worker list", "pyworker worker list --endpoint hello --json"))
def list_(
    endpoint: EndpointOption = None,
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the workers: state, workload in flight, capacity in workload/s, requests at work, and why it is so."""
    found = all_workers(management(engine, api_key), endpoint)
    if as_json:
        say_json([_fields(placed) for placed in found])
        return
    rows = [
        (
            shown_id(placed, found),
            each.status,
            each.cur_load,
            each.measured_perf or None,
            each.reqs_working,
            placed.endpoint,
            placed.group,
            each.url,
            each.error_msg,
        )
        for placed in found
        for each in [placed.worker]
    ]
    show_table(COLUMNS, rows, empty="there is no worker: `pyworker endpoint logs NAME` says why")


@app.command(epilog=examples("pyworker worker show 7", "pyworker worker show 7 --json"))
def show(
    worker_id: IdArgument,
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all that the engine knows of a worker. Loads are in workload, capacities in workload/s."""
    found = worker_called(all_workers(management(engine, api_key), None), worker_id)
    if as_json:
        say_json(_fields(found))
        return
    worker = found.worker
    times = {"loaded_at": moment(worker.loaded_at), "started_at": moment(worker.started_at)}
    show_fields({**_fields(found), **times})


@app.command(epilog=examples("pyworker worker logs 7", "pyworker worker logs 7 --tail 20 --json"))
def logs(
    worker_id: IdArgument,
    tail: TailOption = 50,
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the last lines of a worker's logs, its model server's among them."""
    answer = management(engine, api_key).worker_logs(worker_id, tail)
    if as_json:
        say_json(answer.logs)
        return
    for name, lines in answer.logs.items():
        show_lines([f"--- {name} ---", *(lines or ["(nothing)"])])


@app.command(epilog=examples("pyworker worker stop 7"))
def stop(worker_id: IdArgument, engine: EngineOption = ENGINE_URL, api_key: ApiKeyOption = None) -> None:
    """Have a worker finish what it has and stop. It keeps its folder; the engine may start it again.

    One on a machine of its own ends with the status on which its start script starts it anew.
    """
    management(engine, api_key).stop_worker(worker_id)
    typer.echo(f"worker {worker_id} is asked to stop")


@app.command(epilog=examples("pyworker worker start 7"))
def start(worker_id: IdArgument, engine: EngineOption = ENGINE_URL, api_key: ApiKeyOption = None) -> None:
    """Start a worker that is stopped, or that the engine has given up."""
    management(engine, api_key).start_worker(worker_id)
    typer.echo(f"worker {worker_id} is asked to start\n\nNext: pyworker worker logs {worker_id}")


@app.command(epilog=examples("pyworker worker delete 7", "pyworker worker delete 7 --yes"))
def delete(
    worker_id: IdArgument, yes: YesOption = False, engine: EngineOption = ENGINE_URL, api_key: ApiKeyOption = None
) -> None:
    """Remove a worker with its folder. The engine makes another when the load asks for one."""
    asked = management(engine, api_key)
    confirm(f"Delete worker {worker_id} with its folder?", yes=yes)
    asked.delete_worker(worker_id)
    typer.echo(f"worker {worker_id} is deleted")


@app.command(
    epilog=examples(
        "pyworker worker token --endpoint default",
        "env $(pyworker worker token -e default) pyworker run workers/hello_world",
        "pyworker worker token -e default --signature-scheme 4",
    )
)
def token(
    endpoint: Annotated[str, typer.Option("--endpoint", "-e", metavar="NAME", help="Whose requests it will serve.")],
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
    signature_scheme: Annotated[
        int | None, typer.Option(metavar="1|3|4", help="RSA signatures of this scheme instead of tickets.")
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", metavar="NAME", help="Its workergroup; else the endpoint's external one.")
    ] = None,
    worker_id: Annotated[
        int | None, typer.Option("--id", metavar="N", help="Its CONTAINER_ID, if known; else the first report's.")
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Where it will be, if known; else as it reports first.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Let a worker on a machine of your own join: issue its secrets, as lines for its environment.

    A token belongs to one worker: the first report with it binds it to that worker's id and url.
    """
    from pyworker.client.management import issue_token
    from pyworker.wire import TokenRequest

    query = TokenRequest(endpoint, workergroup=group, signature_scheme=signature_scheme, url=url, id=worker_id)
    variables = _variables(issue_token(engine, require_key(api_key), query), engine)
    typer.echo(json.dumps(variables) if as_json else "\n".join(f"{name}={value}" for name, value in variables.items()))


def _fields(placed: PlacedWorker) -> dict[str, Any]:
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(placed.worker)
    return {**fields, "endpoint_name": placed.endpoint, "workergroup_name": placed.group}


def _variables(answer: TokenAnswer, engine_url: str) -> dict[str, str]:
    """What the worker's environment needs."""
    variables = {"REPORT_ADDR": engine_url.rstrip("/"), "MASTER_TOKEN": answer.mtoken}
    if answer.ticket_key and answer.ticket_key_id:
        variables |= {"PYWORKER_TICKET_KEY": answer.ticket_key, "PYWORKER_TICKET_KEY_ID": answer.ticket_key_id}
    return variables
