"""Plots as SVG, drawn here so that a report is one file that opens offline. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

__all__ = ["Series", "plot"]

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 18, 40
TICKS: Final = 5
SMALLEST: Final = 1e-9
MOST_DOTS: Final = 4000

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one kind: joined by a line, or dots."""

    name: str
    points: Sequence[Point]
    colour: str
    dots: bool = False


def plot(series: Sequence[Series], x_title: str, y_title: str, *, log_x: Sequence[float] = ()) -> str:
    """One picture. With ``log_x``, percentages, the x axis shows these, each step ten times closer to 100."""
    shown = [one for one in series if one.points]
    if not shown:
        return '<p class="none">nothing to show</p>'
    most_x = _most(x for one in shown for x, _ in one.points)
    x_ticks = list(log_x) or _ticks(most_x)
    y_ticks = _ticks(_most(y for one in shown for _, y in one.points), above=True)
    to_x = _percent_axis(log_x) if log_x else _axis(most_x, LEFT, WIDTH - RIGHT)
    to_y = _axis(y_ticks[-1], HEIGHT - BOTTOM, TOP)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(y_title)} by {escape(x_title)}">']
    parts += [_y_tick(to_y(tick), tick) for tick in y_ticks]
    parts += [_text(to_x(tick), HEIGHT - BOTTOM + 16, f"{tick:.4g}", "middle") for tick in x_ticks]
    parts += [_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_title, "middle"), _text(LEFT, TOP - 2, y_title, "start")]
    parts += [_drawn(one, to_x, to_y) for one in shown]
    return "".join([*parts, "</svg>", _legend(shown) if len(shown) > 1 else ""])


def _most(values: Iterable[float]) -> float:
    """The end of an axis; where there is nothing but 0, some end."""
    most = max(values)
    return most if most > SMALLEST else 1.0


def _axis(most: float, first: float, last: float) -> Callable[[float], float]:
    return lambda value: first + value / most * (last - first)


def _percent_axis(percents: Sequence[float]) -> Callable[[float], float]:
    def nines(percent: float) -> float:
        return -math.log10(1 - min(percent, percents[-1]) / 100)

    axis = _axis(nines(percents[-1]), LEFT, WIDTH - RIGHT)
    return lambda percent: axis(nines(percent))


def _ticks(most: float, *, above: bool = False) -> list[float]:
    """From 0 in steps of 1, 2 or 5 times a power of ten, up to ``most``, or the first that is not below it."""
    power = 10.0 ** math.floor(math.log10(most / TICKS))
    step = next(one * power for one in (1, 2, 5, 10) if most / TICKS <= one * power * (1 + 1e-9))
    count = most / step
    return [number * step for number in range((math.ceil(count - 1e-9) if above else math.floor(count + 1e-9)) + 1)]


def _drawn(series: Series, to_x: Callable[[float], float], to_y: Callable[[float], float]) -> str:
    points = series.points
    if series.dots:
        step = max(1, math.ceil(len(points) / MOST_DOTS))
        dots = "".join(f"M{to_x(x):.1f} {to_y(y):.1f}h0" for x, y in points[::step])
        return f'<path d="{dots}" stroke="{series.colour}" class="dots"/>'
    line = "L".join(f"{to_x(x):.1f} {to_y(y):.1f}" for x, y in points)
    return f'<path d="M{line}" stroke="{series.colour}" class="line"/>'


def _y_tick(at: float, value: float) -> str:
    return f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" class="grid"/>' + _text(LEFT - 6, at + 4, f"{value:.3g}", "end")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _legend(series: Sequence[Series]) -> str:
    entries = (f'<li><b style="background:{one.colour}"></b>{escape(one.name)}</li>' for one in series)
    return f'<ul class="legend">{"".join(entries)}</ul>'
