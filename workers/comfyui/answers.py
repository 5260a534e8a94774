"""Answers over HTTP: JSON, files as they are, or a stream of events."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import MultipartWriter, web

from pyworker.answers import Stream
from workers.comfyui.delivery import Delivered

__all__ = ["EventStream", "files_as_they_are"]


class EventStream(Stream):
    """``text/event-stream``, one JSON object an event."""

    def __init__(self) -> None:
        super().__init__(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})

    async def send(self, event: Mapping[str, Any]) -> None:
        """One event. Raises ConnectionError when the client has gone."""
        await self.write(b"data: " + json.dumps(event).encode() + b"\n\n")


async def files_as_they_are(files: Sequence[Delivered]) -> web.Response:
    """One file is the body; several are the parts of ``multipart/mixed``."""
    if len(files) == 1:
        headers = {"Content-Type": files[0].mimetype, "Content-Disposition": _disposition(files[0])}
        return web.Response(body=files[0].content, headers=headers)
    with MultipartWriter("mixed") as parts:
        for file in files:
            headers = {"Content-Type": file.mimetype, "Content-Disposition": _disposition(file)}
            parts.append(file.content, headers)
    return web.Response(body=await parts.as_bytes(), headers={"Content-Type": parts.headers["Content-Type"]})


def _disposition(file: Delivered) -> str:
    name = "".join(character for character in file.file.filename if character.isprintable() and character not in '"\\')
    return f'inline; filename="{name}"'
