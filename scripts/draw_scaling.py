"""``python scripts/draw_scaling.py``: docs/explanation/scaling.svg, from a simulated run, and the log of that run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from pyworker.engine.core.parameters import EndpointParameters, GroupParameters
from pyworker.engine.core.scaling.view import Phase
from pyworker.simulate.arrivals import Arrival, Stretch, by_chance
from pyworker.simulate.machine import Behaviour
from pyworker.simulate.run import Sample, Simulation

PICTURE = Path(__file__).parent.parent / "docs" / "explanation" / "scaling.svg"

PARAMETERS = EndpointParameters(min_load=0.0, cold_mult=1.5, cold_workers=3, max_workers=10)
BEHAVIOUR = Behaviour(capacity_per_s=100.0, first_start_s=45.0, restart_s=12.0)
COST = 10.0
DAY = (
    Stretch(150.0, 0.0),  # nobody; three workers are made, to be cold
    Stretch(240.0, 8.0),
    Stretch(300.0, 22.0),
    Stretch(60.0, 70.0),  # a burst
    Stretch(240.0, 22.0),
    Stretch(150.0, 6.0),
    Stretch(660.0, 0.0),
)

LEFT, RIGHT, WIDTH = 62.0, 16.0, 900.0
INK, FAINT, GRID = "#1f2328", "#59636e", "#d8dee4"
BLUE, GREEN, ORANGE = "#2f6fde", "#1a7f37", "#bc4c00"
COLOURS = {Phase.ACTIVE: "#4a9d63", Phase.STARTING: "#e8a33d", Phase.STOPPING: "#b9a7d6", Phase.COLD: "#b8c7dc"}


class Panel(NamedTuple):
    """A part of the picture: where it lies, and the highest value it shows."""

    top: float
    height: float
    most: float
    end_s: float

    def x(self, at_s: float) -> float:
        """Where a time is."""
        return LEFT + at_s / self.end_s * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Where a value is."""
        return self.top + self.height * (1 - value / self.most)

    def corners(self, points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
        """Where a line turns that keeps each value until the next point."""
        found: list[tuple[float, float]] = []
        for at_s, value in points:
            x, y = round(self.x(at_s), 1), round(self.y(min(value, self.most)), 1)
            if not found or found[-1][1] != y:
                found += [(x, found[-1][1])] if found else []
                found.append((x, y))
        return [*found, (round(self.x(self.end_s), 1), found[-1][1])]


def _path(corners: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in corners)


def main() -> None:
    """Simulate, print, draw."""
    run = Simulation(PARAMETERS, [(GroupParameters(), BEHAVIOUR)], seed=4)
    arrivals = list(by_chance(Random(4), DAY, COST))  # noqa: S311 - the same picture each time
    run.arrive(arrivals)
    run.run(sum(stretch.time_s for stretch in DAY))
    for done in run.done:
        print(f"{done.at_s:6.0f} s  {type(done.action).__name__.lower():8} {done.action.reason}")  # noqa: T201
    waits_s = sorted(request.served_s - request.came_s for request in run.requests if request.served_s)
    median_s = waits_s[len(waits_s) // 2]
    print(f"{len(waits_s)} of {len(run.requests)} served, p50 {median_s:.2f} s, longest {waits_s[-1]:.1f} s")  # noqa: T201
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture(run.samples, arrivals))


def picture(samples: Sequence[Sample], arrivals: Sequence[Arrival]) -> str:
    """The whole drawing."""
    end_s = samples[-1].at_s
    load = Panel(48, 230, 1200, end_s)
    workers = Panel(338, 150, 10, end_s)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} 530" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{WIDTH:.0f}" height="530" fill="#ffffff"/>',
        _text(LEFT, 18, "workload per second", weight=600),
        *_frame(load, [0, 300, 600, 900, 1200]),
        _area(load, [(at_s, load_per_s) for at_s, load_per_s in _arrived(arrivals, end_s)]),
        _line(load, [(s.at_s, s.target_per_s) for s in samples[::3]], ORANGE, "1.4", dash="5 3"),
        _line(load, [(s.at_s, s.active_per_s) for s in samples], GREEN, "2.2"),
        *_key(LEFT, 36, [(BLUE, "arrivals (5 s)"), (ORANGE, "active target"), (GREEN, "active capacity")]),
        _text(LEFT, 308, "workers", weight=600),
        *_stack(workers, samples),
        *_frame(workers, [0, 2, 4, 6, 8, 10]),
        *_key(LEFT, 326, [(colour, phase.value) for phase, colour in COLOURS.items()]),
        *_times(workers),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _arrived(arrivals: Sequence[Arrival], end_s: float, bin_s: float = 5.0) -> list[tuple[float, float]]:
    sums = [0.0] * (int(end_s / bin_s) + 1)
    for arrival in arrivals:
        sums[min(int(arrival.at_s / bin_s), len(sums) - 1)] += arrival.cost / bin_s
    return [(number * bin_s, total) for number, total in enumerate(sums)]


def _text(x: float, y: float, words: str, *, anchor: str = "start", fill: str = INK, weight: int = 400) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" font-weight="{weight}">{words}</text>'


def _frame(panel: Panel, values: Sequence[int]) -> list[str]:
    lines: list[str] = []
    for value in values:
        y = panel.y(value)
        lines.append(f'<path d="M{LEFT},{y:.1f}H{WIDTH - RIGHT}" stroke="{GRID}" stroke-width="0.8" fill="none"/>')
        lines.append(_text(LEFT - 8, y + 4, str(value), anchor="end", fill=FAINT))
    return lines


def _times(panel: Panel) -> list[str]:
    marks = [
        _text(panel.x(minute * 60.0), panel.top + panel.height + 18, f"{minute}", anchor="middle", fill=FAINT)
        for minute in range(0, int(panel.end_s / 60) + 1, 5)
    ]
    return [*marks, _text(WIDTH - RIGHT, panel.top + panel.height + 34, "minutes", anchor="end", fill=FAINT)]


def _line(panel: Panel, points: Sequence[tuple[float, float]], colour: str, width: str, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path d="{_path(panel.corners(points))}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}/>'


def _area(panel: Panel, points: Sequence[tuple[float, float]]) -> str:
    path, floor = _path(panel.corners(points)), panel.y(0)
    closed = f"{path}L{panel.x(panel.end_s):.1f},{floor:.1f}L{panel.x(0):.1f},{floor:.1f}Z"
    return (
        f'<path d="{closed}" fill="{BLUE}" fill-opacity="0.18"/>'
        f'<path d="{path}" fill="none" stroke="{BLUE}" stroke-width="1"/>'
    )


def _stack(panel: Panel, samples: Sequence[Sample]) -> list[str]:
    areas: list[str] = []
    below = [0] * len(samples)
    for phase, colour in COLOURS.items():
        above = [count + sample.phases[phase] for count, sample in zip(below, samples, strict=True)]
        times_s = [sample.at_s for sample in samples]
        up = panel.corners(zip(times_s, above, strict=True))
        down = panel.corners(zip(times_s, below, strict=True))
        areas.append(f'<path d="{_path([*up, *reversed(down)])}Z" fill="{colour}"/>')
        below = above
    return areas


def _key(x: float, y: float, entries: Sequence[tuple[str, str]]) -> list[str]:
    parts: list[str] = []
    for colour, words in entries:
        parts.append(f'<rect x="{x:.1f}" y="{y - 9:.1f}" width="11" height="11" rx="2" fill="{colour}"/>')
        parts.append(_text(x + 16, y, words))
        x += 40 + 6.6 * len(words)
    return parts


if __name__ == "__main__":
    main()
