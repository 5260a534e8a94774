"""``pyworker load``."""

# ruff: noqa: PLC0415
from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from pyworker.cli.common import ENGINE_URL, ApiKeyOption, EngineOption, examples, require_key

if TYPE_CHECKING:
    from pyworker.load.plan import Plan

__all__ = ["add_to", "load"]


DataOption = Annotated[
    str | None,
    typer.Option("--data", "-d", metavar="JSON", help="The payload, with places; @FILE reads it."),
]
TraceOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Replay recorded arrivals: CSV or JSON lines."),
]
HtmlOption = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write it as one page with plots."),
]


def add_to(app: typer.Typer) -> None:
    """Put the command where it belongs."""
    app.command(
        epilog=examples(
            """pyworker load hello /generate -n 100 --rate 5 -d '{"prompt": "{prompt}"}'""",
            "pyworker load http://127.0.0.1:8000/v1/chat/completions --pattern poisson --html report.html",
            "pyworker load hello /generate -d @payload.json --trace azure.csv --speed 2 --until 600",
            "pyworker load hello /generate -d @payload.json --find-limit --objective ttft=500ms,latency=10s",
        )
    )(load)


def load(  # noqa: PLR0913, PLR0917 - one for each option
    target: Annotated[str, typer.Argument(help="An endpoint's name, or the URL of any OpenAI server.")],
    route: Annotated[str | None, typer.Argument(help="The route on the endpoint's workers.")] = None,
    data: DataOption = None,
    model: Annotated[str, typer.Option(help="For a URL without --data: the model that a chat names.")] = "default",
    count: Annotated[int | None, typer.Option("-n", min=1, metavar="N", help="Requests (default 100).")] = None,
    rate: Annotated[float, typer.Option(metavar="R", help="Requests per second.")] = 1.0,
    pattern: Annotated[str, typer.Option(help="constant, poisson or gamma.")] = "constant",
    burstiness: Annotated[float, typer.Option(help="Of gamma: 1 is poisson, less comes in bursts.")] = 1.0,
    ramp_to: Annotated[float | None, typer.Option(metavar="R", help="From --rate to this, within --over.")] = None,
    over: Annotated[float, typer.Option(metavar="S", help="See --ramp-to.")] = 60.0,
    swing: Annotated[float | None, typer.Option(metavar="R", help="Up and down about --rate, each --period.")] = None,
    period: Annotated[float, typer.Option(metavar="S", help="See --swing.")] = 60.0,
    trace: TraceOption = None,
    speed: Annotated[float, typer.Option(help="Of the trace: 2 is twice as fast.")] = 1.0,
    since: Annotated[float, typer.Option("--from", metavar="S", help="Cut the trace: from here.")] = 0.0,
    until: Annotated[float | None, typer.Option("--until", metavar="S", help="Cut the trace: up to here.")] = None,
    skip_bad_lines: Annotated[bool, typer.Option("--skip-bad-lines", help="Leave out what is no arrival.")] = False,
    input_tokens: Annotated[int, typer.Option(min=0, help="Size of {prompt}, without a trace.")] = 50,
    output_tokens: Annotated[int, typer.Option(min=0, help="{output_tokens}, without a trace.")] = 50,
    cost: Annotated[float, typer.Option(min=0, help="The workload to announce for each request.")] = 100.0,
    objective: Annotated[str, typer.Option(help="What a good request keeps to: ttft=500ms,tbt=50ms,latency=10s")] = "",
    find_limit: Annotated[bool, typer.Option("--find-limit", help="Search the highest rate that is good.")] = False,
    share: Annotated[float, typer.Option(min=0, max=1, help="Of requests that must be good.")] = 0.99,
    seconds: Annotated[float, typer.Option(min=1, metavar="S", help="Of each rate that is tried.")] = 30.0,
    timeout: Annotated[float, typer.Option(min=0, metavar="S", help="For an answer to begin.")] = 600.0,
    seed: Annotated[int | None, typer.Option(help="The same arrivals again.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON.")] = None,
    html_file: HtmlOption = None,
    engine: EngineOption = ENGINE_URL,
    api_key: ApiKeyOption = None,
) -> None:
    """Send requests when they are due, however slow the answers are, and say what came back.

    In the payload, a string that is "{prompt}", "{input_tokens}", "{output_tokens}" or "{seed}" is replaced for each
    request. Ctrl-C ends early and shows what there is. Status 0: every request was answered with 2xx.
    """
    from pyworker.load.plan import Plan, Shape, Source, Target

    is_url = target.startswith(("http://", "https://"))
    plan = Plan(
        target=Target(target, route, _template(data), model, cost, timeout, engine, _key(api_key, is_url=is_url)),
        shape=Shape(rate, pattern, burstiness, ramp_to, over, swing, period, seed),
        source=Source(trace, speed, since, until, skip_bad_lines, input_tokens, output_tokens, count),
        objective=objective,
        json_file=json_file,
        html_file=html_file,
    )
    raise typer.Exit(_run(plan, find_limit=find_limit, share=share, seconds=seconds))


def _run(plan: Plan, *, find_limit: bool, share: float, seconds: float) -> int:
    return plan.find_limit(share=share, seconds=seconds) if find_limit else plan.run()


def _key(given: str | None, *, is_url: bool) -> str:
    return (given or "") if is_url else require_key(given)


def _template(data: str | None) -> dict[str, Any] | None:
    if data is None:
        return None
    try:
        text = Path(data[1:]).read_text() if data.startswith("@") else data
        template: Any = json.loads(text)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{error}; give a JSON object, or @FILE with one", param_hint="-d") from None
    if not isinstance(template, dict):
        raise typer.BadParameter("the payload is a JSON object", param_hint="-d")
    return cast("dict[str, Any]", template)
