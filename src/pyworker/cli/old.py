"""The command ``pyworker``. What a command needs is imported when it runs, so that ``--help`` is quick."""

# ruff: noqa: PLC0415
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer

if TYPE_CHECKING:
    from pyworker.engine.core.addresses import Network
    from pyworker.wire import TokenAnswer

__all__ = ["app", "main"]

ENGINE_URL = "http://127.0.0.1:8080"
FAILED, USAGE, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="pyworker",
    help="The server beside a model server, and the engine it reports to.\n\n"
    "Ends with status 0 when all went well, 1 when something failed, 2 when the command was not understood.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
worker_app = typer.Typer(help="What concerns workers.", no_args_is_help=True)
app.add_typer(worker_app, name="worker")

EngineOption = Annotated[str, typer.Option("--engine", metavar="URL", envvar="PYWORKER_ENGINE", help="The engine.")]
ApiKeyOption = Annotated[
    str | None,
    typer.Option("--api-key", "-k", metavar="KEY", envvar="PYWORKER_API_KEY", help="The account's or endpoint's key."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]


def main() -> None:
    """Entry point: a failure is one message that says what to do, never a traceback."""
    try:
        app(prog_name="pyworker")
    except Exception as error:
        from pyworker.errors import PyWorkerError

        if not isinstance(error, PyWorkerError):
            raise
        _fail(str(error))


def _examples(*lines: str) -> str:
    """The end of a command's help."""
    return "[bold]Examples[/bold]\n\n" + "\n\n".join(f"  [cyan]{line}[/cyan]" for line in lines)


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


@app.command(
    epilog=_examples(
        "pyworker engine",
        "pyworker engine --port 0 --endpoint llm --endpoint images --json",
        "PYWORKER_API_KEY=... pyworker engine --host 0.0.0.0 --allow-network 10.0.0.0/8",
    )
)
def engine(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8080,
    endpoint: Annotated[list[str] | None, typer.Option(metavar="NAME", help="An endpoint; may be repeated.")] = None,
    api_key: Annotated[
        str | None,
        typer.Option("--api-key", "-k", metavar="KEY", envvar="PYWORKER_API_KEY", help="Made and shown when absent."),
    ] = None,
    max_queue_time: Annotated[
        float, typer.Option(min=0, metavar="S", help="A worker with a longer expected wait gets no more requests.")
    ] = 30.0,
    allow_network: Annotated[
        list[str] | None, typer.Option(metavar="CIDR", help="Where workers may be; may be repeated. Default: anywhere.")
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="What it remembers. Default: ~/.local/state/pyworker/engine"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run an engine: it knows the workers and says which one a request goes to.

    It remembers endpoints, keys and workers from one start to the next, and serves until Ctrl-C or SIGTERM.
    """
    import secrets

    from pyworker import logs
    from pyworker.engine.core.addresses import ANYWHERE
    from pyworker.engine.serve import EngineConfig, serve
    from pyworker.settings import LogSettings, environment, state_folder

    names = endpoint or ["default"]
    key = api_key or secrets.token_urlsafe(32)
    networks = [_network(text) for text in allow_network] if allow_network else ANYWHERE
    shown = {"api_key": None if api_key else key, "endpoints": names}
    logs.set_up(LogSettings.from_env(environment()))
    serve(
        EngineConfig(key, names, host, port, max_queue_time, networks),
        data_dir or state_folder(environment()) / "engine",
        lambda running: _announce({"url": running.url, **shown}, as_json=as_json),
    )


@worker_app.command(
    epilog=_examples(
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
    as_json: JsonOption = False,
) -> None:
    """Let a worker on a machine of your own join: issue its secrets, as lines for its environment.

    A token belongs to one worker: the first report with it binds it to that worker's id and url.
    """
    from pyworker.client.management import issue_token
    from pyworker.wire import TokenRequest

    query = TokenRequest(endpoint, signature_scheme=signature_scheme)
    variables = _variables(issue_token(engine, _require(api_key), query), engine)
    typer.echo(json.dumps(variables) if as_json else "\n".join(f"{name}={value}" for name, value in variables.items()))


@app.command(epilog=_examples("pyworker run workers/hello_world", "pyworker run worker.py"))
def run(target: Annotated[str, typer.Argument(help="A worker's folder or file.")]) -> None:
    """Run a worker in this process; its place comes from the environment."""
    from pyworker.worker.serve import run_target

    raise typer.Exit(run_target(target))


@app.command(
    epilog=_examples(
        """pyworker call default /generate -d '{"prompt": "What is a proxy?"}'""",
        """pyworker call default /generate_stream --stream -d '{"prompt": "Hi"}'""",
        "pyworker call default /generate -d @request.json --timeout 60",
    )
)
def call(
    endpoint: Annotated[str, typer.Argument(help="The endpoint's name.")],
    route: Annotated[str, typer.Argument(help="The route on its workers, /generate for instance.")],
    data: Annotated[str, typer.Option("--data", "-d", metavar="JSON", help="The payload; @FILE reads it, - is stdin.")],
    stream: Annotated[bool, typer.Option("--stream", help="Print the answer as it comes.")] = False,
    cost: Annotated[float, typer.Option(min=0, help="The workload to announce to the engine.")] = 100.0,
    timeout: Annotated[float, typer.Option(min=0, metavar="S", help="Until the answer begins.")] = 600.0,
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
) -> None:
    """Call an endpoint once and print the answer.

    Waits for a worker, and asks for another when that one is full or gone.
    """
    from pyworker.client.client import Client
    from pyworker.client.command import call as call_once

    payload = _payload(data)
    client = Client(engine, _require(api_key), timeout_s=timeout)
    try:
        raise typer.Exit(call_once(client, endpoint, route, payload, cost=cost, stream=stream))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _announce(shown: dict[str, Any], *, as_json: bool) -> None:
    """Say where the engine is, once it listens."""
    if as_json:
        typer.echo(json.dumps(shown))
        return
    key, name = shown["api_key"], shown["endpoints"][0]
    typer.echo(f"engine     {shown['url']}")
    typer.echo(f"endpoints  {', '.join(shown['endpoints'])}")
    typer.echo(f"api key    {key}   (shown only now)" if key else "api key    as given")
    typer.echo("\nNext, in another terminal:")
    typer.echo(f"  export PYWORKER_ENGINE={shown['url']} PYWORKER_API_KEY={key or '...'}")
    typer.echo(f"  pyworker worker token --endpoint {name}    # lets a worker join\n")


def _variables(answer: TokenAnswer, engine_url: str) -> dict[str, str]:
    """What the worker's environment needs."""
    variables = {"REPORT_ADDR": engine_url.rstrip("/"), "MASTER_TOKEN": answer.mtoken}
    if answer.ticket_key and answer.ticket_key_id:
        variables |= {"PYWORKER_TICKET_KEY": answer.ticket_key, "PYWORKER_TICKET_KEY_ID": answer.ticket_key_id}
    return variables


def _network(text: str) -> Network:
    from ipaddress import ip_network

    try:
        return ip_network(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; a network is written 10.0.0.0/8", param_hint="--allow-network") from None


def _payload(data: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if data == "-" else Path(data[1:]).read_text() if data.startswith("@") else data
        payload: Any = json.loads(text)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(
            f'{error}; give a JSON object, as -d \'{{"prompt": "..."}}\'', param_hint="-d"
        ) from None
    if not isinstance(payload, dict):
        raise typer.BadParameter("the payload is a JSON object", param_hint="-d")
    return cast("dict[str, Any]", payload)


def _require(api_key: str | None) -> str:
    if not api_key:
        _fail("no API key: set PYWORKER_API_KEY or give --api-key; `pyworker engine` shows it when it makes one")
    return api_key


def _fail(message: str) -> NoReturn:
    typer.secho(f"error: {message}", err=True, fg=typer.colors.RED if sys.stderr.isatty() else None)
    raise SystemExit(FAILED)


if __name__ == "__main__":
    main()
