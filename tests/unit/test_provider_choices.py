"""Which GPUs an instance gets, and why one waits on a cluster."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworker.engine.core.parameters import Resources
from pyworker.engine.providers.gpus import choose_gpus, find_gpus, shares
from pyworker.engine.providers.ray_words import actor_options, wanted, why_waiting
from pyworker.errors import ProviderError

GB = 1e9


# --- GPUs -----------------------------------------------------------------------------------------


def test_who_wants_no_gpu_gets_none() -> None:
    assert choose_gpus(0, ["0"], {}) == ([], 0.0)


def test_whole_gpus_are_nobody_elses() -> None:
    assert choose_gpus(2, ["0", "1", "2"], {"1": 0.25}) == (["0", "2"], 1.0)


def test_fractions_share_the_gpu_that_is_fullest_and_has_room() -> None:
    assert choose_gpus(0.5, ["0", "1", "2"], {"0": 0.75, "1": 0.5}) == (["1"], 0.5)
    assert choose_gpus(0.1, ["0"], {"0": 0.9}) == (["0"], 0.1)


@pytest.mark.parametrize(
    ("gpus", "present", "words"),
    [
        (1, [], "it wants 1 GPU, and of the 0 of this machine 0 can give that much"),
        (2, ["0", "1"], "it wants 2 GPUs, and of the 2 of this machine 1 can give that much: stop another worker"),
        (1.5, ["0", "1"], r"resources\.gpus is 1\.5: give a whole number, or a fraction below 1"),
    ],
)
def test_what_cannot_be_given_is_said(gpus: float, present: list[str], words: str) -> None:
    with pytest.raises(ProviderError, match=words):
        choose_gpus(gpus, present, {"0": 0.5})


@given(st.lists(st.sampled_from([0.1, 0.25, 0.5, 1.0, 2.0]), max_size=30), st.integers(0, 4))
def test_no_gpu_is_given_away_more_than_once(asked: list[float], count: int) -> None:
    present = [str(number) for number in range(count)]
    given_away: list[tuple[list[str], float]] = []
    for gpus in asked:
        try:
            given_away.append(choose_gpus(gpus, present, shares(given_away)))
        except ProviderError:
            continue
    assert all(share <= 1.0 + 1e-6 for share in shares(given_away).values())


@pytest.mark.parametrize(
    ("visible", "found"),
    [("0,2", ["0", "2"]), ("GPU-1, GPU-2", ["GPU-1", "GPU-2"]), ("", []), ("-1", []), ("NoDevFiles", [])],
)
def test_the_gpus_that_the_engine_may_see_are_those_there_are(visible: str, found: list[str]) -> None:
    assert find_gpus({"CUDA_VISIBLE_DEVICES": visible}) == found


class NVMLError(Exception):
    """What the library raises."""


def test_gpus_are_counted_by_nvidias_library(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    library = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: done.append("begun"),
        nvmlDeviceGetCount=lambda: 2,
        nvmlShutdown=lambda: done.append("ended"),
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert find_gpus({}) == ["0", "1"]
    assert done == ["begun", "ended"]


def test_without_a_driver_or_the_library_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise NVMLError

    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(NVMLError=NVMLError, nvmlInit=fail))
    assert find_gpus({}) == []
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert find_gpus({}) == []


# --- the cluster ----------------------------------------------------------------------------------


def test_resources_as_ray_counts_them() -> None:
    resources = Resources(cpus=2, gpus=0.5, memory_gb=1.5, custom={"fast_disk": 1})
    assert actor_options(resources) == {
        "num_cpus": 2,
        "num_gpus": 0.5,
        "memory": 1_500_000_000,
        "resources": {"fast_disk": 1},
    }
    assert wanted(resources) == {"CPU": 2, "GPU": 0.5, "memory": 1.5 * GB, "fast_disk": 1}
    assert wanted(Resources(cpus=0)) == {}


@pytest.mark.parametrize(
    ("needs", "nodes", "free", "words"),
    [
        ({"CPU": 1}, [], {}, "waits for a node: the cluster has none"),
        (
            {"GPU": 4, "memory": 64 * GB},
            [{"GPU": 2, "memory": 8 * GB}, {"GPU": 1}],
            {},
            "no node can hold it: it needs 4 GPU, the most is 2 GPU; it needs 64 GB of memory, the most is 8 GB of "
            "memory. Lower launch.resources, or add a node",
        ),
        (
            {"CPU": 8, "GPU": 1},
            [{"CPU": 8}, {"CPU": 2, "GPU": 1}],
            {"CPU": 10, "GPU": 1},
            "no node has all of 8 CPU, 1 GPU. Lower launch.resources, or add a node",
        ),
        ({"CPU": 1, "GPU": 1}, [{"CPU": 4, "GPU": 2}], {"CPU": 3}, "waits for 1 GPU (0 GPU free in the cluster)"),
        ({"CPU": 3}, [{"CPU": 4}, {"CPU": 4}], {"CPU": 4}, "waits for a node with 3 CPU free"),
    ],
)
def test_why_an_instance_waits_is_said_in_words(
    needs: dict[str, float], nodes: list[dict[str, float]], free: dict[str, float], words: str
) -> None:
    assert why_waiting(needs, nodes, free) == words
