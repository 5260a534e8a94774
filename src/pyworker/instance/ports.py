"""Free ports for one start, that no other instance on this machine gets before they are used."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["choose"]

# below those that the system hands out, so that nobody gets one by chance before it is used
_FIRST: Final = 20_000
_COUNT: Final = 12_000
_TRIES: Final = 1_000

_claims: list[socket.socket] = []  # until the process ends


def choose(names: Sequence[str], preferred: Mapping[str, int]) -> dict[str, int]:
    """A port for each name: the preferred one if it is free. Raises OSError when there is none."""
    return {name: _choose_one(preferred.get(name)) for name in names}


def _choose_one(preferred: int | None) -> int:
    if preferred and _is_free(preferred) and _claim(preferred):
        return preferred
    for _ in range(_TRIES):
        port = _FIRST + int.from_bytes(os.urandom(4)) % _COUNT
        if _is_free(port) and _claim(port):
            return port
    raise OSError(f"none of {_TRIES} ports between {_FIRST} and {_FIRST + _COUNT} is free")


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as servers do: connections that are over do no harm
        try:
            sock.bind(("", port))
        except OSError:
            return False
    return True


def _claim(port: int) -> bool:
    """Tell other supervisors that the port is spoken for, by a name that vanishes with this process."""
    if sys.platform != "linux":
        return True
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0pyworker-port-{port}")
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    return True
