"""A load test's result as one HTML file: numbers and plots, nothing from elsewhere. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Final

from pyworker.load.outcome import Outcome
from pyworker.load.plots import Point, Series, plot
from pyworker.load.summary import PERCENTS, Summary, Times, percentile

__all__ = ["html_report"]

BLUE, ORANGE, GREEN, RED = "#2f6fdd", "#d9822b", "#2a9d5c", "#c8372d"
_PERCENTS: Final = (0, 50, 90, 99, 99.9)
_MOST_BARS: Final = 120
_SHORTEST_S: Final = 1e-9  # no clock tells less

_STYLE: Final = """
:root{color-scheme:light dark;--line:#8884}
body{font:15px/1.45 system-ui,sans-serif;max-width:1400px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem}h2{font-size:1.05rem;margin:.2rem 0}
section{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:1.5rem;margin:1.5rem 0}
table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:right;font-variant-numeric:tabular-nums}
td:first-child,th:first-child{text-align:left}tr+tr td{border-top:1px solid var(--line)}
svg{width:100%;height:auto;font-size:12px;fill:currentColor}
.grid{stroke:var(--line)}.line{fill:none;stroke-width:1.6}.dots{fill:none;stroke-width:3.2;stroke-linecap:round;opacity:.55}
.legend{list-style:none;display:flex;gap:1rem;padding:0;margin:0}
.legend b{display:inline-block;width:.8em;height:.8em;margin-right:.4em}
.none{opacity:.6}pre{overflow-x:auto}
"""


def html_report(title: str, summary: Summary, elapsed_s: float, told: Mapping[str, str]) -> str:
    """The page. ``told`` is how the test was run, by name."""
    answered = [one for one in summary.outcomes if one.is_ok]
    pictures = [
        ("Latency over time", _over_time(summary, answered)),
        ("Requests per second", _rates(summary, elapsed_s)),
        ("In flight", plot([Series("in flight", _in_flight(summary.outcomes, elapsed_s), BLUE)], "s", "requests")),
        ("Times by percentile", _percentiles(summary.times())),
        ("First token", _histogram([one.first_token_s for one in answered], "s")),
        ("Between tokens", _histogram([one.between_tokens_s for one in answered], "s")),
    ]
    figures = "".join(f"<figure><h2>{name}</h2>{picture}</figure>" for name, picture in pictures)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1>"
        f"<section><div><h2>Result</h2>{_result(summary, elapsed_s)}</div>"
        f"<div><h2>Times</h2>{_times(summary)}</div>"
        f"<div><h2>How it was run</h2>{_table(list(told.items()))}</div></section>"
        f"<section>{figures}</section>{_by_worker(summary)}{_errors(summary)}</html>"
    )


# --- tables ---------------------------------------------------------------------------------------


def _result(summary: Summary, elapsed_s: float) -> str:
    per_s = 1 / elapsed_s if elapsed_s else 0.0
    tokens = sum(one.tokens for one in summary.outcomes)
    rows = [
        ("sent", f"{summary.sent} ({summary.sent * per_s:.2f}/s)"),
        ("ok", f"{summary.ok} ({summary.ok * per_s:.2f}/s)"),
        ("errors", str(summary.errors.total())),
        ("unfinished", str(summary.unfinished)),
        ("took", f"{elapsed_s:.1f} s"),
    ]
    if tokens > summary.ok:
        rows.append(("tokens", f"{tokens} ({tokens * per_s:.1f}/s)"))
    if str(summary.objective):
        good = summary.good_share
        rows.append((f"good: {summary.objective}", f"{good:.1%} ({good * summary.sent * per_s:.2f}/s)"))
    return _table(rows)


def _times(summary: Summary) -> str:
    rows = {**summary.times(), "sent late": summary.lateness()}
    cells = [(name, *(_seconds(times.at(percent)) for percent in PERCENTS.values())) for name, times in rows.items()]
    return _table(cells, ("", *PERCENTS)) + "<p>From when a request was due, not from when it could be sent.</p>"


def _by_worker(summary: Summary) -> str:
    workers = summary.workers()
    if not workers:
        return ""
    rows = [(url, str(one.ok), str(one.errors.total()), *_of(one)) for url, one in workers.items()]
    return f"<h2>By worker</h2>{_table(rows, ('worker', 'ok', 'errors', 'p50', 'p99'))}"


def _of(summary: Summary) -> tuple[str, str]:
    times = summary.times().get("latency", Times())
    return _seconds(times.at(50)), _seconds(times.at(99))


def _errors(summary: Summary) -> str:
    if not summary.errors:
        return ""
    return f"<h2>Errors</h2>{_table([(kind, str(count)) for kind, count in summary.errors.most_common()])}"


def _table(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> str:
    first = f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>" if head else ""
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{first}{body}</table>"


def _seconds(value_s: float) -> str:
    return "" if math.isnan(value_s) else f"{value_s:.3f} s"


# --- plots ----------------------------------------------------------------------------------------


def _over_time(summary: Summary, answered: Sequence[Outcome]) -> str:
    failed = [(one.due_s, one.latency_s) for one in summary.outcomes if one.error and not math.isnan(one.end_s)]
    return plot(
        [
            Series("answered", [(one.due_s, one.latency_s) for one in answered], BLUE, dots=True),
            Series("failed", failed, RED, dots=True),
        ],
        "s, when it was due",
        "s",
    )


def _rates(summary: Summary, elapsed_s: float) -> str:
    width_s = _width(elapsed_s)
    asked: list[tuple[str, Callable[[Outcome], float], str]] = [
        ("due", lambda one: one.due_s, ORANGE),
        ("ok", lambda one: one.end_s if one.is_ok else math.nan, GREEN),
        ("failed", lambda one: one.end_s if one.error else math.nan, RED),
    ]
    return plot(
        [Series(name, _per_s(map(when, summary.outcomes), width_s, elapsed_s), colour) for name, when, colour in asked],
        "s",
        "per s",
    )


def _width(elapsed_s: float) -> float:
    """Of a bar: a second, or more so that there are not too many."""
    return max(1.0, math.ceil(elapsed_s / _MOST_BARS))


def _per_s(moments_s: map[float], width_s: float, elapsed_s: float) -> list[Point]:
    counts = Counter(int(moment // width_s) for moment in moments_s if not math.isnan(moment))
    if not counts:
        return []
    return [(bar * width_s, counts[bar] / width_s) for bar in range(int(elapsed_s // width_s) + 1)]


def _in_flight(outcomes: Sequence[Outcome], elapsed_s: float) -> list[Point]:
    changes: Counter[float] = Counter()
    for one in outcomes:
        if not math.isnan(one.sent_s):
            changes[one.sent_s] += 1
            changes[elapsed_s if math.isnan(one.end_s) else one.end_s] -= 1
    count, points = 0, list[Point]()
    for moment in sorted(changes):
        count += changes[moment]
        points.append((moment, float(count)))
    return points[:: max(1, len(points) // 2000)]


def _percentiles(times: Mapping[str, Times]) -> str:
    colours = {"latency": BLUE, "first token": ORANGE, "between tokens": GREEN}
    steps = [step / 10 for step in range(1000)] + [99.9 + step / 100 for step in range(10)]
    series = [
        Series(name, [(at, one.at(at)) for at in steps if at <= 99.9], colours[name]) for name, one in times.items()
    ]
    return plot(series, "percent of requests", "s", log_x=_PERCENTS)


def _histogram(values_s: Sequence[float], unit: str) -> str:
    ordered = sorted(value for value in values_s if not math.isnan(value))
    if not ordered:
        return plot([], unit, "requests")
    most_s = max(percentile(ordered, 99.5), _SHORTEST_S)  # the rest would squeeze all that counts
    width_s = most_s / 40
    counts = Counter(min(int(value / width_s), 40) for value in ordered)
    points = [(edge * width_s, float(counts[bar])) for bar in range(41) for edge in (bar, bar + 1)]
    return plot([Series("requests", points, BLUE)], unit, "requests")
