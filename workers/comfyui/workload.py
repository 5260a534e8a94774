"""How much work an image is.

A picture is cut into tiles of 512 by 512 pixels, each of which counts 175, and 85 for the picture as a whole; a step of
the sampler takes 0.61 of that and what comes before and after 6.57. Scaled so that 1024 by 1024 pixels at 28 steps are
200 for each second that the model needs for them on an RTX 4090: one such card has a capacity of about 200 a second,
whatever its model.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

__all__ = ["Picture", "workload"]

TILE_PX: Final = 512
OF_A_TILE, OF_A_PICTURE = 175.0, 85.0
OF_A_STEP, OF_THE_REST = 0.61, 6.57
WORKLOAD_OF_A_SECOND: Final = 200.0


@dataclasses.dataclass(frozen=True)
class Picture:
    """What is to be made: its size in pixels, the steps of the sampler, and how many of it at once."""

    width: int = 1024
    height: int = 1024
    steps: int = 28
    count: int = 1


STANDARD: Final = Picture()


def workload(picture: Picture, standard_s: float) -> float:
    """The workload of a picture by a model that needs ``standard_s`` seconds for the standard one."""
    return picture.count * _relative(picture) / _relative(STANDARD) * WORKLOAD_OF_A_SECOND * standard_s


def _relative(picture: Picture) -> float:
    tiles = math.ceil(picture.width / TILE_PX) * math.ceil(picture.height / TILE_PX)
    return (tiles * OF_A_TILE + OF_A_PICTURE) * (picture.steps * OF_A_STEP + OF_THE_REST)
