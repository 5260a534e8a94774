"""What a person sees of a load test while it runs: a screen on a terminal, else a line now and then."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from typing import Final, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pyworker.load.run import Clock
from pyworker.load.summary import PERCENTS, Summary

__all__ = ["Lines", "Screen"]

LINE_EVERY_S: Final = 5.0
SCREEN_EVERY_S: Final = 0.25
SHOWN_S: Final = 30
SHOWN_WORKERS: Final = 8
_BARS: Final = " ▁▂▃▄▅▆▇█"


class Lines:
    """A line every few seconds, for logs and pipes."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    async def __call__(self, summary: Summary, clock: Clock) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LINE_EVERY_S)
            self._out.write(summary.line(clock()) + "\n")
            self._out.flush()


class Screen:
    """Counts, rates, workers, errors and latency, four times a second. ``planned`` requests will be sent, if known."""

    def __init__(self, title: str, planned: int | None = None, console: Console | None = None) -> None:
        self._title = title
        self._planned = planned
        self._console = console or Console(stderr=True)

    async def __call__(self, summary: Summary, clock: Clock) -> None:
        """Until cancelled."""
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                live.update(self.shown(summary, clock()), refresh=True)
                await asyncio.sleep(SCREEN_EVERY_S)

    def shown(self, summary: Summary, elapsed_s: float) -> Group:
        """The screen as it is now."""
        of_planned = f" of {self._planned}" if self._planned else ""
        head = Table.grid(padding=(0, 3))
        head.add_row("sent", f"{summary.sent}{of_planned}", "in flight", str(summary.unfinished))
        head.add_row("ok", str(summary.ok), "errors", Text(str(summary.errors.total()), _warning(summary)))
        parts = [Text(f"{self._title}   {elapsed_s:.0f} s", "bold"), head, _rates(summary, elapsed_s), _times(summary)]
        if workers := summary.workers():
            parts.append(_workers(workers))
        parts += [Text(f"{count:>6}  {kind}", "red") for kind, count in summary.errors.most_common(5)]
        if summary.unfinished and summary.obstacle:
            parts.append(Text(f"waiting: {summary.obstacle}", "yellow"))
        return Group(*parts)


def _warning(summary: Summary) -> str:
    return "red" if summary.errors else ""


def _rates(summary: Summary, elapsed_s: float) -> Table:
    """Requests due and answered in each of the last seconds, as bars."""
    last = int(elapsed_s)
    seconds = range(max(0, last - SHOWN_S), last)
    due = Counter(int(one.due_s) for one in summary.outcomes)
    answered = Counter(int(one.end_s) for one in summary.outcomes if one.is_ok)
    table = Table.grid(padding=(0, 2))
    most = max([1, *(max(due[second], answered[second]) for second in seconds)])
    for name, counts in (("sent/s", due), ("ok/s", answered)):
        heights = (round(counts[second] / most * (len(_BARS) - 1)) for second in seconds)
        now = counts[last - 1] if last else 0
        table.add_row(name, Text("".join(_BARS[height] for height in heights), "cyan"), str(now))
    return table


def _times(summary: Summary) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("", *PERCENTS):
        table.add_column(column, justify="right" if column else "left")
    for name, times in summary.times().items():
        table.add_row(name, *(f"{times.at(percent):.3f} s" for percent in PERCENTS.values()))
    return table


def _workers(workers: dict[str, Summary]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("worker", "ok", "errors"):
        table.add_column(column, justify="left" if column == "worker" else "right")
    for url, one in itertools.islice(workers.items(), SHOWN_WORKERS):
        table.add_row(Text(url), str(one.ok), str(one.errors.total()))
    if len(workers) > SHOWN_WORKERS:
        table.add_row(f"and {len(workers) - SHOWN_WORKERS} more", "", "")
    return table
