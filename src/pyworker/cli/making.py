"""Workergroups are made all, or none."""

# ruff: noqa: PLC0415
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyworker.cli.parameters import group_body

if TYPE_CHECKING:
    from pyworker.client.management import Management
    from pyworker.engine.core.parameters import GroupParameters

__all__ = ["make_groups"]


def make_groups(asked: Management, endpoint_name: str, groups: Sequence[GroupParameters]) -> list[int]:
    """Their ids. When the engine refuses one, those before it are removed again; raises EngineRefused."""
    from pyworker.errors import EngineRefused

    made: list[int] = []
    try:
        for group in groups:
            group_id = asked.create_group(group_body(endpoint_name, group))
            made.append(group_id)
    except EngineRefused:
        for group_id in made:
            asked.delete_group(group_id)
        raise
    return made
