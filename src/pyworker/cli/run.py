"""``pyworker run``."""

# ruff: noqa: PLC0415
from __future__ import annotations

from typing import Annotated

import typer

from pyworker.cli.common import examples, fail

__all__ = ["add_to", "run"]


def add_to(app: typer.Typer) -> None:
    """Put the command where it belongs."""
    app.command(
        epilog=examples(
            "pyworker run workers/hello_world",
            "pyworker run worker.py --reload",
            'pyworker run worker.py --model-command "vllm serve my/model --port {model_port}"',
            "UNSECURED=true WORKER_HOST=127.0.0.1 pyworker run worker.py",
        )
    )(run)


def run(
    target: Annotated[str, typer.Argument(help="A worker's folder or file, or a module's name.")],
    reload: Annotated[bool, typer.Option("--reload", help="Start it anew when its files change.")] = False,
    model_command: Annotated[
        str | None,
        typer.Option("--model-command", metavar="COMMAND", help="Start the model server, too, and end it with it."),
    ] = None,
    model_log: Annotated[
        str | None, typer.Option("--model-log", metavar="FILE", help="Where the model server's output goes.")
    ] = None,
) -> None:
    """Run a worker, as it is: for lib.*, for vastai, or for pyworker. Its place comes from the environment."""
    if model_log is not None and model_command is None:
        fail("--model-log says where the output of --model-command goes: give both, or set MODEL_LOG")
    if reload or model_command is not None:
        from pyworker.running.beside import run_beside

        raise typer.Exit(run_beside(target, model_command=model_command, model_log=model_log, reload=reload))
    from pyworker.running.here import run_target

    raise typer.Exit(run_target(target))
