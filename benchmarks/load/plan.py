"""What the harness asks of the load generator, and what it answers."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Auth", "Figures", "Plan"]


class Auth(msgspec.Struct, frozen=True):
    """How requests prove themselves: by one RSA signature of the worker's url, or each by a ticket of its own."""

    url: str  # what the proof is for: the worker's public address
    signature: str = ""
    ticket_key_id: str = ""
    ticket_key: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One run of load against one address."""

    mode: Literal["exchange", "stream", "drop"]
    port: int
    auth: Auth
    first_reqnum: int  # nine digits; the requests count up from it
    group: int  # the process group whose CPU time is taken at both ends of the window; 0: none
    connections: int = 1
    warm_s: float = 0.0  # before the window
    measure_s: float = 0.0  # the window's length
    requests: int = 0  # the window ends after so many answers; 0: after measure_s only
    tickets: int = 0  # tickets to issue before the load begins
    payload_bytes: int = 1024


class Figures(msgspec.Struct, kw_only=True):
    """What happened inside the window; lists of times are given as percentiles."""

    window_s: float
    cpu_s: float
    answers: int  # whole answers with status 200; in mode "drop" the clients that went away
    chunks: float = 0.0
    p50_ms: float = 0.0  # a whole answer; in mode "stream" the first chunk
    p99_ms: float = 0.0
    failures: dict[str, int] = {}
