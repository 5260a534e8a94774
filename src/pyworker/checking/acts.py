"""What the fake model does in a dry run: answer, stream, fail, break off; and an answer made up for any handler."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass
from typing import Any, Final

from pyworker.testing import Behaviour, FakeRequest, answer, drop

__all__ = ["ACTS", "MADE_UP", "Act", "Staged"]

FIRST_PIECE_S: Final = 3.0  # for the client to have the first piece of a stream, before the model sends the rest

_TEXT: Final = "A made-up answer."
_PIXEL: Final = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()

# what the answers of many model servers have in common, in one
MADE_UP: Final[dict[str, Any]] = {
    "id": "made-up",
    "object": "made-up",
    "created": 1,
    "model": "made-up",
    "status": "ok",
    "text": _TEXT,
    "response": _TEXT,
    "generated_text": _TEXT,
    "content": _TEXT,
    "output": _TEXT,
    "result": _TEXT,
    "token": {"id": 1, "text": _TEXT, "logprob": -1.0, "special": False},
    "message": {"role": "assistant", "content": _TEXT},
    "choices": [
        {
            "index": 0,
            "text": _TEXT,
            "message": {"role": "assistant", "content": _TEXT},
            "delta": {"role": "assistant", "content": _TEXT},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    "data": [{"index": 0, "embedding": [0.0, 1.0], "b64_json": _PIXEL, "url": "http://127.0.0.1/made-up.png"}],
    "embeddings": [[0.0, 1.0]],
    "images": [_PIXEL],
    "prompt_id": "made-up",
}


@dataclass(frozen=True)
class Act:
    """One thing a model may do with a request."""

    name: str


ACTS: Final = (
    Act("json"),
    Act("gzip"),
    Act("stream"),
    Act("status 422"),
    Act("status 500"),
    Act("no answer"),
    Act("broken off"),
)


class Staged:
    """The behaviour of one act, and whether the client had the first piece before the model sent the rest."""

    def __init__(self, act: Act, made_up: Any, *, waits: bool) -> None:
        self.first_piece = asyncio.Event()
        self.held_back = False
        self.asked = 0  # requests for this act
        self._act = act
        self._made_up = made_up
        self._waits = waits

    async def play(self, request: FakeRequest) -> None:
        """What the fake model does."""
        self.asked += 1
        await self._behaviour()(request)

    def _behaviour(self) -> Behaviour:
        behaviours: dict[str, Behaviour] = {
            "json": answer(self._made_up),
            "gzip": answer(self._made_up, gzip=True),
            "stream": self._stream,
            "status 422": answer({"error": "the model does not take this"}, status=422),
            "status 500": answer({"error": "the model failed"}, status=500),
            "no answer": drop(),
            "broken off": self._break_off,
        }
        return behaviours[self._act.name]

    async def _stream(self, request: FakeRequest) -> None:
        await request.send_event(self._made_up)
        if self._waits:
            try:
                await asyncio.wait_for(self.first_piece.wait(), FIRST_PIECE_S)
            except TimeoutError:
                self.held_back = True
        await request.send_event(self._made_up)
        await request.send_event("[DONE]")

    async def _break_off(self, request: FakeRequest) -> None:
        await request.send_event(self._made_up)
        request.drop()
