"""Prompts whose clients leave while they are on their way to ComfyUI: its answer, with their id, comes to nobody."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from workers.comfyui.comfy import Comfy

__all__ = ["Abandoned"]


class Abandoned:
    """Has such prompts cancelled, by the name that this worker gave them."""

    def __init__(self, comfy: Comfy) -> None:
        self._comfy = comfy
        self._on_their_way: dict[str, tuple[asyncio.Task[Any], Callable[[Any], None]]] = {}
        self._cancelling: set[asyncio.Task[None]] = set()

    def sent(self, client_id: str) -> None:
        """A prompt is about to be sent, by the task of its request."""
        task = asyncio.current_task()
        if task is not None:
            ended = functools.partial(self._ended, client_id)
            self._on_their_way[client_id] = (task, ended)
            task.add_done_callback(ended)

    def answered(self, client_id: str) -> None:
        """ComfyUI has answered: from now on somebody sees to the prompt."""
        if client_id in self._on_their_way:
            task, ended = self._on_their_way.pop(client_id)
            task.remove_done_callback(ended)

    def _ended(self, client_id: str, _: asyncio.Task[Any]) -> None:
        if self._on_their_way.pop(client_id, None) is not None:
            cancelling = asyncio.get_running_loop().create_task(self._comfy.cancel_of(client_id))
            self._cancelling.add(cancelling)
            cancelling.add_done_callback(self._cancelling.discard)
