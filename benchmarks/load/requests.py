"""The requests that are sent: distinct envelopes, made with as little work as possible while the clock runs."""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import replace

from benchmarks.load.plan import Auth
from pyworker.tickets import NONCE_BYTES, TicketKey, issue_ticket
from pyworker.wire import AuthData, dump

__all__ = ["Requests"]

COST = 300.0
ENDPOINT = "benchmark"
_REQNUM = b"#REQNUM##"  # as long as the numbers, which have nine digits, so that every request has the same length
_SIGNATURE = b"#SIGNATURE#"


class Requests:
    """Gives one request after another: POST ``path`` with an envelope of its own."""

    def __init__(self, auth: Auth, path: str, *, first_reqnum: int, payload_bytes: int) -> None:
        self._key = TicketKey(auth.ticket_key_id, bytes.fromhex(auth.ticket_key)) if auth.ticket_key_id else None
        self._claims = AuthData(COST, ENDPOINT, 0, auth.url, "")
        self._number = first_reqnum
        self._ready: deque[bytes] = deque()
        self._rsa = auth.signature.encode()
        template = _request(auth.url, path, payload_bytes, len(self._next_signature()))
        self._head, self._middle, rest = template.split(_REQNUM)
        self._before, _, self._after = rest.partition(_SIGNATURE)

    def issue(self, count: int) -> None:
        """Issue the tickets of the next ``count`` requests now, so that they cost nothing later."""
        if self._key:
            self._ready.extend(self._ticket(self._key, self._number + index) for index in range(count))

    def next(self) -> bytes:
        """The next request, ready for the socket."""
        number = b"%d" % self._number
        signature = self._next_signature()
        self._number += 1
        return b"".join((self._head, number, self._middle, number, self._before, signature, self._after))

    def _next_signature(self) -> bytes:
        if self._key is None:
            return self._rsa
        return self._ready.popleft() if self._ready else self._ticket(self._key, self._number)

    def _ticket(self, key: TicketKey, number: int) -> bytes:
        claims = replace(self._claims, reqnum=number, request_idx=number)
        return issue_ticket(key, claims, now_s=time.time(), nonce=os.urandom(NONCE_BYTES)).encode()


def _request(url: str, path: str, payload_bytes: int, signature_bytes: int) -> bytes:
    """A whole request with marks where number and signature go, and the length it has when they are filled in."""
    marked = {
        "cost": COST,
        "endpoint": ENDPOINT,
        "reqnum": _REQNUM.decode(),
        "request_idx": _REQNUM.decode(),
        "url": url,
        "signature": _SIGNATURE.decode(),
    }
    auth_data = dump(marked).replace(b'"' + _REQNUM + b'"', _REQNUM)
    body = b'{"auth_data":%s,"payload":%s}' % (auth_data, _payload(payload_bytes))
    length = len(body) - len(_SIGNATURE) + signature_bytes
    head = f"POST {path} HTTP/1.1\r\nHost: {url.partition('//')[2]}\r\nAccept: */*\r\nUser-Agent: benchmark\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n".encode() + body


def _payload(size_bytes: int) -> bytes:
    """What the guide's model takes, ``size_bytes`` long."""
    around = dump({"prompt": "", "max_response_tokens": 300})
    words = ("lorem ipsum dolor sit amet " * (size_bytes // 27 + 1))[: size_bytes - len(around)]
    return dump({"prompt": words, "max_response_tokens": 300})
