"""Which GPUs an instance gets: found on this machine, chosen among those that nobody has."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pyworker.errors import ProviderError

__all__ = ["choose_gpus", "find_gpus", "shares"]

_NEARLY: Final = 1e-9
_VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


def find_gpus(environment: Mapping[str, str]) -> list[str]:
    """The GPUs of this machine as CUDA_VISIBLE_DEVICES names them; where that is set, no others.

    They are counted by NVIDIA's library, which the package nvidia-ml-py speaks to; without either there are none.
    """
    visible = environment.get(_VISIBLE)
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in {"", "-1", "NoDevFiles"}]
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return []
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:  # no driver, no library
        return []
    try:
        return [str(index) for index in range(nvml.nvmlDeviceGetCount())]
    finally:
        nvml.nvmlShutdown()


def shares(given: Iterable[tuple[Sequence[str], float]]) -> dict[str, float]:
    """How much of each GPU is taken, of those given out as (GPUs, the share of each)."""
    taken: dict[str, float] = {}
    for names, share in given:
        for name in names:
            taken[name] = taken.get(name, 0.0) + share
    return taken


def choose_gpus(wanted: float, present: Sequence[str], taken: Mapping[str, float]) -> tuple[list[str], float]:
    """The GPUs for an instance that wants so many, and its share of each; a fraction shares the fullest that has room.

    Raises ProviderError when there are not enough.
    """
    if wanted <= 0:
        return [], 0.0
    if wanted > 1 and wanted != int(wanted):
        raise ProviderError(f"resources.gpus is {wanted:g}: give a whole number, or a fraction below 1")
    share = min(wanted, 1.0)
    count = max(1, int(wanted))
    room = [name for name in present if taken.get(name, 0.0) + share <= 1.0 + _NEARLY]
    if len(room) < count:
        raise ProviderError(
            f"it wants {wanted:g} GPU{'s' * (wanted > 1)}, and of the {len(present)} of this machine "
            f"{len(room)} can give that much: stop another worker, or lower resources.gpus"
        )
    room.sort(key=lambda name: -taken.get(name, 0.0))  # stable: in their order where all are alike
    return room[:count], share
