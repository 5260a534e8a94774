"""A model server that does as a test says."""

from __future__ import annotations

from pathlib import Path

from pyworker.testing.behaviours import answer
from pyworker.testing.request import Behaviour, FakeRequest
from pyworker.testing.seen import Seen
from pyworker.testing.server import FakeServer

__all__ = ["FakeModel"]


class FakeModel(FakeServer):
    """A model server: answers ``{"text": "hello"}`` to everything until told otherwise, and may write a log.

    ``healthy`` decides whether ``health_path`` answers 200 or 503; these requests are in ``health_checks``, the others
    in ``requests``.
    """

    def __init__(
        self,
        *,
        log_path: Path | None = None,
        health_path: str = "/health",
        healthy: bool = True,
        default: Behaviour | None = None,
        listening: bool = True,
        read_bodies: bool = True,
    ) -> None:
        super().__init__(default=default or answer({"text": "hello"}), listening=listening, read_bodies=read_bodies)
        self.log_path = log_path
        self.health_path = health_path
        self.healthy = healthy
        self.health_checks: Seen[FakeRequest] = Seen()

    def log(self, text: str, *, end: str = "\n") -> None:
        """Add a line to its log file, or a piece of one with ``end=""``."""
        if self.log_path is None:
            raise RuntimeError("this FakeModel was made without a log_path")
        with self.log_path.open("a", encoding="utf-8") as file:
            file.write(text + end)

    def _record(self, request: FakeRequest) -> None:
        (self.health_checks if request.path == self.health_path else self.requests).append(request)

    def _own(self, request: FakeRequest) -> Behaviour:
        if request.path != self.health_path:
            return super()._own(request)
        return answer({"ok": True}) if self.healthy else answer({"ok": False}, status=503)
