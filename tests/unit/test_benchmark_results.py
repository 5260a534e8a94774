"""Ratios and targets of the benchmark, from figures to words."""

from __future__ import annotations

import pytest

from benchmarks.results import Memory, Row, one_added_ms, ratio, verdicts

ROWS = {
    "direct": Row(name="direct", title="no proxy", one_p50_ms=[0.1, 0.1, 0.9]),
    "sdk": Row(name="sdk", title="SDK", answers_per_cpu_s=[500, 400, 600], one_p50_ms=[2.1], chunk_cpu_us=100.0),
    "pass": Row(
        name="pass",
        title="pass",
        answers_per_cpu_s=[6000],
        one_p50_ms=[0.9],
        chunk_cpu_us=70.0,
        first_chunk_p50_ms=6.0,
    ),
}


def _met(rows: dict[str, Row], memory: Memory | None = None) -> dict[str, bool | None]:
    return {verdict.what: verdict.met for verdict in verdicts(rows, memory)}


def test_the_median_of_the_rounds_counts() -> None:
    assert ROWS["sdk"].figure("answers_per_cpu_s") == 500
    assert ratio(ROWS, "pass", "sdk", "answers_per_cpu_s") == 12


def test_what_a_proxy_adds_is_its_time_less_the_time_without_one() -> None:
    assert one_added_ms(ROWS, "sdk") == pytest.approx(2.0)
    assert ratio(ROWS, "pass", "sdk", "added") == pytest.approx(0.4)


def test_each_target_is_met_or_not() -> None:
    met = _met(ROWS)
    assert met["pass-through, req/CPU-s to SDK"] is True
    assert met["pass-through, added p50 to SDK"] is False
    assert met["pass-through, CPU a chunk to SDK"] is True
    assert met["pass-through, first chunk at p50"] is False


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert set(_met({"direct": ROWS["direct"], "pass": ROWS["pass"]}).values()) == {None, False}
    assert set(_met({}).values()) == {None}


def test_memory_is_flat_when_it_does_not_grow_once_warm() -> None:
    memory = Memory(idle_mb=50, warm_mb=55, requests=100, served_mb=56, dropped_clients=10, dropped_mb=61, failures={})
    met = _met({}, memory)
    assert met["pass-through, memory idle"] is True
    assert met["pass-through, memory growth once warm"] is False
