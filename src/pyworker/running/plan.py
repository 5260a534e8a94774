"""What the process is told that watches over a worker, and over its model server. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, NamedTuple

__all__ = ["Plan"]

_PORT: Final = "{model_port}"
_LOG: Final = "{model_log}"


class Plan(NamedTuple):
    """The commands of a worker and its model server (None: it runs elsewhere), and when they start anew.

    ``model`` may hold the placeholders ``{model_port}``, a free one, and ``{model_log}``, for a server that writes its
    log by itself. ``trial`` loads the worker without serving; ``watched`` is the folder whose changes have it started
    anew, "" when none is.
    """

    worker: list[str]
    model: list[str] | None = None
    model_log: str = ""
    drain_s: float = 30.0
    watched: str = ""
    trial: list[str] = []  # noqa: RUF012 - never changed in place

    def to_json(self) -> str:
        """For a command line."""
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The same, read there."""
        return cls(**json.loads(text))

    @property
    def wants_port(self) -> bool:
        """Whether the model server takes a port of our choice."""
        return any(_PORT in text for text in self.model or ())

    @property
    def logs_by_itself(self) -> bool:
        """Whether the model server is told where its log is, and so writes it."""
        return any(_LOG in text for text in self.model or ())

    def model_command(self, port: int) -> list[str]:
        """The model server's command with its placeholders filled in."""
        return [text.replace(_PORT, str(port)).replace(_LOG, self.model_log) for text in self.model or ()]

    def worker_environment(self, around: Mapping[str, str], port: int) -> dict[str, str]:
        """The worker's environment: with the model server's log, and its address where we chose it."""
        given = dict(around)
        if self.model is not None:
            given["MODEL_LOG"] = self.model_log
        if port:
            given.setdefault("MODEL_SERVER_URL", f"http://127.0.0.1:{port}")
        if self.watched:
            given["PYTHONDONTWRITEBYTECODE"] = "1"  # a file may change twice in the second that bytecode is dated with
            given.setdefault("PYWORKER_DRAIN_S", f"{self.drain_s:g}")
        return given
