"""What a supervisor is told, and what it says at the end. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["FAILED", "STOPPED", "Ended", "Order"]

FAILED: Final = "failed"
STOPPED: Final = "stopped"


class Order(NamedTuple):
    """What a supervisor is told. Texts may hold the placeholders of ``Launch``; ``environment`` holds secrets."""

    id: int
    name: str
    worker: list[str]
    model: list[str] | None
    environment: dict[str, str]
    working_directory: str = ""
    drain_s: float = 30.0
    public_address: str = "127.0.0.1"
    gpu_share: float = 0.0  # of each of ``gpus``
    gpus: list[str] = []  # noqa: RUF012 - never changed in place

    def __repr__(self) -> str:
        return f"<order for instance {self.id}, {self.name}>"


class Ended(NamedTuple):
    """How a run ended: ``state`` is "stopped" (it was asked to) or "failed", ``reason`` is for people."""

    state: str
    reason: str = ""
    what: str = ""  # which process ended first: "worker" or "model server"
    status: int | None = None  # its exit status, below 0 for a signal
    at_s: float = 0.0  # epoch s
    lines: list[str] = []  # noqa: RUF012 - never changed in place
