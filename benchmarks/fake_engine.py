"""The engine that the workers report to: it serves the public key, takes every report and believes it."""

from __future__ import annotations

import functools
import itertools
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric import rsa

from pyworker.tickets import public_key_pem, rsa_message, sign_rsa
from pyworker.wire import AuthData

__all__ = ["FakeEngine"]


class FakeEngine:
    """Listens on a free port of the loopback while the ``with`` block lasts."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._blocks = itertools.count(100)
        self._server = _Server(("127.0.0.1", 0), functools.partial(_Handler, public_key_pem(self._key)))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """What the workers get as REPORT_ADDR."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def sign(self, worker_url: str) -> str:
        """The signature of scheme 4, which an engine makes once for a worker's url."""
        return sign_rsa(self._key, rsa_message(4, AuthData(0, "", 0, worker_url, "")))

    def reqnums(self) -> int:
        """The first of a million nine-digit numbers, above all that were given out before."""
        return next(self._blocks) * 1_000_000

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A worker that is ended resets its connection, and that is no news; anything else is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, pem: bytes, *args: Any) -> None:
        self._pem = pem
        super().__init__(*args)

    def do_GET(self) -> None:
        self._answer(self._pem if self.path == "/pubkey/" else b"{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(b'{"success":true}')

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        """Says nothing: the terminal belongs to the table."""
