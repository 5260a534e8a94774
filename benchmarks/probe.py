"""Single questions to what was started: does it serve, how many streams are open."""

from __future__ import annotations

import socket
import urllib.request

import msgspec

from benchmarks.load.plan import Auth
from benchmarks.load.requests import Requests

__all__ = ["open_streams", "serves"]

_LIMIT_S = 5.0


def serves(port: int, auth: Auth, *, reqnum: int) -> bool:
    """Send one request of the benchmark. False when it is refused, or answered otherwise than 200."""
    request = Requests(auth, "/generate", first_reqnum=reqnum, payload_bytes=1024).next()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_LIMIT_S) as connection:
            connection.sendall(request)
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def open_streams(model_port: int) -> int:
    """How many streams the model server is answering."""
    with urllib.request.urlopen(f"http://127.0.0.1:{model_port}/streams", timeout=_LIMIT_S) as answer:
        return msgspec.json.decode(answer.read(), type=dict[str, int])["open"]
