"""``pyworker check``: a dry run of a worker, for people and for CI."""

# ruff: noqa: PLC0415
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pyworker.cli.common import FAILED, JsonOption, examples
from pyworker.cli.output import printable, say_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from pyworker.wire_check import CheckReport, Finding

__all__ = ["add_to", "check"]

COLOURS: Final = {"fault": "red", "warning": "yellow"}


def add_to(app: typer.Typer) -> None:
    """Put the command where it belongs."""
    lines = ("pyworker check workers/hello_world", "pyworker check worker.py --env MODEL_NAME=qwen --strict")
    app.command(epilog=examples(*lines))(check)


def check(
    target: Annotated[str, typer.Argument(help="A worker's folder or file.")],
    env: Annotated[
        list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="A variable for it; may be repeated.")
    ] = None,
    answer: Annotated[
        Path | None, typer.Option("--answer", metavar="FILE", help="What the model answers (JSON), not a made-up one.")
    ] = None,
    call_remote: Annotated[bool, typer.Option("--call-remote", help="Call remote functions, too.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are faults.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", metavar="S", min=1.0, help="For all of it, in s.")] = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Find what would fail in production, in seconds and without a model.

    Ends with status 0 when there is no fault, 1 when there is one, 2 when TARGET is no worker.
    """
    from pyworker.checking.run import check as dry_run
    from pyworker.errors import ConfigurationError
    from pyworker.settings import environment

    whole_env = {**environment(), **dict(map(_variable, env or ()))}
    given = _read_answer(answer) if answer is not None else None
    try:
        report = dry_run(target, env=whole_env, limit_s=timeout, answer=given, call_remote=call_remote)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error), param_hint="TARGET") from None
    if as_json:
        say_json(report)
    else:
        _show(report)
    if report.faults or (strict and report.warnings):
        raise typer.Exit(FAILED)


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--env")
    return name, value


def _read_answer(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{path} is no JSON that can be read: {error}", param_hint="--answer") from None


def _show(report: CheckReport) -> None:
    from rich.console import Console

    on_terminal = sys.stdout.isatty()
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=not on_terminal)
    ordered = sorted(report.findings, key=lambda finding: finding.level)
    if on_terminal and ordered:
        _show_table(console, ordered)
    for finding in () if on_terminal else ordered:
        _show_lines(finding)
    if report.not_checked:
        console.print("Not checked:")
        for left in report.not_checked:
            console.print(f"  - {printable(left)}")
    console.print(_summary(report))


def _show_table(console: Console, findings: Sequence[Finding]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=False)
    table.add_column("", no_wrap=True)
    table.add_column("where", overflow="fold", max_width=max(20, console.width // 3))
    table.add_column("what is wrong, and what to do", overflow="fold")
    for finding in findings:
        words = Text.assemble(
            (printable(finding.what), "bold"), "\n", ("→ ", "dim"), (printable(finding.remedy), "green"), "\n"
        )
        table.add_row(Text(finding.level, COLOURS[finding.level]), printable(finding.where), words)
    console.print(table)


def _show_lines(finding: Finding) -> None:
    typer.echo(f"{finding.level}: {printable(finding.where)}: {printable(finding.what)}")
    typer.echo(f"    do: {printable(finding.remedy)}  [{finding.rule}]")


def _summary(report: CheckReport) -> str:
    counts: Mapping[str, int] = {"fault": report.faults, "warning": report.warnings}
    found = [f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts.items() if count]
    return f"{report.target}: {' and '.join(found) or 'nothing wrong'}"
