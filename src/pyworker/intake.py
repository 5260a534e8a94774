"""Bodies of requests that nobody has vouched for yet: bounded each, bounded together, and not for ever.

A body is read before its signature can be checked, since the signature is in it. What is held for such requests
counts against one budget until they are authenticated.
"""

from __future__ import annotations

import asyncio
import zlib
from types import TracebackType
from typing import Protocol, Self

from pyworker.errors import BadFraming, BodyTooLarge, InvalidJson, SlowBody, UnsupportedMedia

__all__ = ["BodySource", "Hold", "Intake"]

FIRST_BYTES_S = 20.0  # a body may take this long, and longer as far as SLOWEST_BYTES_PER_S have come
SLOWEST_BYTES_PER_S = 16 * 1024
RETRY_AFTER_S = 5
_STEP_BYTES = 256 * 1024
_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class BodySource(Protocol):
    """A request's body while it comes in."""

    def is_eof(self) -> bool:
        """Whether all of it is there."""
        ...

    def read_nowait(self) -> bytes:
        """What is there."""
        ...

    async def readany(self) -> bytes:
        """At least one byte; b"" at the end."""
        ...


class Intake:
    """The limits, and what is held now. Sizes in bytes.

    The first ``free_bytes`` of each body do not count: however full the budget is, small bodies come in.
    """

    def __init__(self, *, max_body_bytes: int, max_held_bytes: int, free_bytes: int = 0) -> None:
        self.max_body_bytes = max_body_bytes
        self.max_held_bytes = max_held_bytes
        self.free_bytes = free_bytes
        self.held_bytes = 0

    def has_room(self, body_bytes: int) -> bool:
        """Whether a body of this size may be held now."""
        return body_bytes <= self.max_body_bytes and self.held_bytes + body_bytes <= self.max_held_bytes

    def hold(self) -> Hold:
        """For one request: ``with intake.hold() as hold: ... hold.read(request) ... authenticate``."""
        return Hold(self)


class Hold:
    """One request's share of the budget; given back when the ``with`` block ends, or somebody vouches for it.

    ``max_body_bytes`` is the intake's, unless less is enough for what is asked.
    """

    def __init__(self, intake: Intake) -> None:
        self.max_body_bytes = intake.max_body_bytes
        self._intake = intake
        self._bytes = 0
        self._counted_bytes = 0
        self._vouched = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type_: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    def vouch(self) -> None:
        """It is known who sends this: from now on it does not count among the unknown."""
        self._vouched = True
        self._give_back()

    def _give_back(self) -> None:
        self._intake.held_bytes -= self._counted_bytes
        self._counted_bytes = 0

    async def read(self, content: BodySource, announced_bytes: int) -> bytes | memoryview:
        """The whole body, as it was sent; ``announced_bytes`` is its Content-Length, 0 where there is none.

        Raises BodyTooLarge (also for what is announced, before a byte is read), SlowBody.
        """
        self._check(announced_bytes)
        if content.is_eof():  # it came with the head: the common case
            return self._taken(content.read_nowait())
        with _Gathering(announced_bytes) as gathering:
            try:
                async with asyncio.timeout(FIRST_BYTES_S) as deadline:
                    while piece := await content.readany():
                        gathering.add(self._taken(piece))
                        deadline.reschedule(_later(deadline.when(), len(piece) / SLOWEST_BYTES_PER_S))
            except TimeoutError:
                raise SlowBody() from None
            return gathering.whole()

    async def read_clear(self, content: BodySource, announced_bytes: int, encoding: str | None) -> bytes | memoryview:
        """The whole body, decompressed: an envelope is needed in clear. ``encoding`` is its Content-Encoding.

        Raises what ``read`` does, UnsupportedMedia, and InvalidJson when it is not what its encoding says.
        """
        body = await self.read(content, announced_bytes)
        encoding = (encoding or "identity").lower()
        if encoding == "identity":
            return body
        if encoding not in _WINDOW_BITS:
            raise UnsupportedMedia(f"Content-Encoding {encoding!r} is not known; use gzip, deflate or none")
        return await self._decompressed(body, encoding)

    async def _decompressed(self, body: bytes | memoryview, encoding: str) -> bytes:
        """Step by step: each counts before the next is made, and others go first in between."""
        decompressor = zlib.decompressobj(_WINDOW_BITS[encoding])
        pieces: list[bytes] = []
        for at in range(0, len(body), _STEP_BYTES):
            rest, more = body[at : at + _STEP_BYTES], True
            while more:
                try:
                    pieces.append(self._taken(decompressor.decompress(rest, _STEP_BYTES)))
                except zlib.error:
                    raise InvalidJson(f"the body is not {encoding}") from None
                rest = decompressor.unconsumed_tail
                more = bool(rest) or len(pieces[-1]) == _STEP_BYTES
                await asyncio.sleep(0)
        if not decompressor.eof or decompressor.unused_data:
            raise InvalidJson(f"the {encoding} body is cut off, or more follows it")
        return b"".join(pieces)

    def _taken(self, piece: bytes) -> bytes:
        counted_bytes = self._check(len(piece))
        self._bytes += len(piece)
        self._counted_bytes += counted_bytes
        self._intake.held_bytes += counted_bytes
        return piece

    def _check(self, more_bytes: int) -> int:
        """How much of what comes counts. Raises BodyTooLarge."""
        intake = self._intake
        if self._bytes + more_bytes > self.max_body_bytes:
            raise BodyTooLarge(f"the body is larger than {self.max_body_bytes} bytes")
        beyond_bytes = max(0, self._bytes + more_bytes - intake.free_bytes)
        counted_bytes = 0 if self._vouched else min(more_bytes, beyond_bytes)
        if counted_bytes and intake.held_bytes + counted_bytes > intake.max_held_bytes:
            raise BodyTooLarge(
                "too many large bodies are being received; try again in a moment", retry_after_s=RETRY_AFTER_S
            )
        return counted_bytes


class _Gathering:
    """A body while it comes in, copied to its place once: ``with _Gathering(bytes) as gathering: ...``.

    Room for all that was announced is made when half of it is there, so that nobody holds more than twice what he has
    sent. What was not announced (0) is joined in the end. After the block nothing is held, even if somebody keeps
    the traceback of an error.
    """

    def __init__(self, announced_bytes: int) -> None:
        self._announced_bytes = announced_bytes
        self._came_bytes = 0
        self._pieces: list[bytes] = []
        self._room: memoryview | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type_: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pieces, self._room = [], None

    def add(self, piece: bytes) -> None:
        """The next piece. Raises BadFraming when more comes than was announced."""
        self._pieces.append(piece)
        self._came_bytes += len(piece)
        if self._announced_bytes and 2 * self._came_bytes >= self._announced_bytes:
            self._put_in_place()

    def _put_in_place(self) -> None:
        if self._came_bytes > self._announced_bytes:
            raise BadFraming()
        if self._room is None:
            self._room = memoryview(bytearray(self._announced_bytes))
        at = self._came_bytes - sum(map(len, self._pieces))
        for piece in self._pieces:
            self._room[at : at + len(piece)] = piece
            at += len(piece)
        self._pieces.clear()

    def whole(self) -> bytes | memoryview:
        """What has come."""
        return b"".join(self._pieces) if self._room is None else self._room[: self._came_bytes]


def _later(when_s: float | None, more_s: float) -> float | None:
    return None if when_s is None else when_s + more_s
