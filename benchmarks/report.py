"""The tables, for the terminal and for the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.results import Results, Row, Verdict, one_added_ms, ratio, verdicts

__all__ = ["show", "write"]

_FIGURES_HEAD = ("", "req/\nCPU-s", "req/s", "added\nms", "µs/\nchunk", "first\nms", "5 MB\nms", "RSS\nMB")
_RATIOS_HEAD = ("to SDK worker", *_FIGURES_HEAD[1:-1])
_VERDICTS_HEAD = ("", "target", "measured", "")
_KEPT_UP = 0.97
_MET = {True: "met", False: "NOT MET", None: "-"}


def show(console: Console, results: Results) -> None:
    """Print the tables."""
    for title, head, lines in _tables(results):
        console.print(_rich(title, head, lines))
    for line in _remarks(results):
        console.print(line, markup=False)


def write(results: Results, folder: Path) -> Path:
    """Write ``<date>-<kind>.md`` and the same figures as ``.json``; returns the first."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{results.began.replace(':', '')}-{results.kind}.md"
    path.write_text(_markdown(results))
    path.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    return path


def _tables(results: Results) -> list[tuple[str, Sequence[str], list[list[str]]]]:
    rows = [row for row in results.rows.values() if row.absent is None]
    return [
        ("Figures", _FIGURES_HEAD, [_figures(results.rows, row) for row in rows]),
        ("Ratios", _RATIOS_HEAD, [_ratios(results.rows, row) for row in rows if row.name != "direct"]),
        ("Targets", _VERDICTS_HEAD, _verdict_lines(results)),
    ]


def _figures(rows: Mapping[str, Row], row: Row) -> list[str]:
    direct = row.name == "direct"
    rss = f"{_number(row.rss_start_mb, '{:.0f}')}-{_number(row.rss_end_mb, '{:.0f}')}"
    return [
        row.title,
        _number(row.figure("answers_per_cpu_s"), "{:,.0f}"),
        _number(row.figure("answers_per_s"), "{:,.0f}"),
        _number(row.figure("one_p50_ms"), "({:.2f})") if direct else _number(one_added_ms(rows, row.name), "{:.2f}"),
        _number(row.chunk_cpu_us, "{:.0f}"),
        _number(row.first_chunk_p50_ms, "{:,.1f}"),
        _number(row.big_cpu_ms, "{:.1f}"),
        "" if direct else rss,
    ]


def _ratios(rows: Mapping[str, Row], row: Row) -> list[str]:
    fields = ("answers_per_cpu_s", "answers_per_s", "added", "chunk_cpu_us", "first_chunk_p50_ms", "big_cpu_ms")
    return [row.title, *(_ratio(ratio(rows, row.name, "sdk", field)) for field in fields)]


def _verdict_lines(results: Results) -> list[list[str]]:
    return [_verdict_line(verdict) for verdict in verdicts(results.rows, results.memory)]


def _verdict_line(verdict: Verdict) -> list[str]:
    return [verdict.what, verdict.limit, verdict.measured, _MET[verdict.met]]


def _remarks(results: Results) -> list[str]:
    """What a table cannot say: memory over a life, what failed, what is missing and why."""
    lines = [f"{row.title}: {row.absent}" for row in results.rows.values() if row.absent is not None]
    lines += [
        f"{row.title}: passed {row.chunks_kept_up:.0%} of the chunks that the streams should have brought"
        for row in results.rows.values()
        if row.chunks_kept_up is not None and row.chunks_kept_up < _KEPT_UP
    ]
    lines += [f"{row.title}: failures {row.failures}" for row in results.rows.values() if row.failures]
    if memory := results.memory:
        lines.append(
            f"Memory of a fresh pass-through worker: {memory.idle_mb:.1f} MB idle, {memory.warm_mb:.1f} warm, "
            f"{memory.served_mb:.1f} after {memory.requests:,} requests, {memory.dropped_mb:.1f} after "
            f"{memory.dropped_clients:,} dropped clients besides; failures: {memory.failures or 'none'}."
        )
    return lines


def _ratio(value: float | None) -> str:
    return "< 0.001" if value is not None and value < 0.001 else _number(value, "{:.3g}")


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _rich(title: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1), pad_edge=False, collapse_padding=True
    )
    for index, name in enumerate(head):
        table.add_column(name, justify="right" if index else "left", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    return table


def _markdown(results: Results) -> str:
    facts = [f"- {name}: {value}" for name, value in (results.machine | results.versions).items()]
    parts = [
        f"# {results.began}, {results.kind} run, {results.took_s:.0f} s",
        "How it is measured and how to read it: [README](../README.md).",
        *(f"## {title}\n\n{_markdown_table(head, lines)}" for title, head, lines in _tables(results)),
        "\n\n".join(_remarks(results)),
        "\n".join(facts),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    names = [name.replace("/\n", "/").replace("\n", " ") for name in head]
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [names, rule, *lines])
