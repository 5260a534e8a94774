"""The engine as a worker sees it."""

from __future__ import annotations

import base64
import dataclasses
import email.utils
import functools
import itertools
import secrets
import time
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa

from pyworker import wire
from pyworker.errors import PyWorkerError
from pyworker.testing.request import Behaviour, FakeRequest
from pyworker.testing.seen import Seen
from pyworker.testing.server import FakeServer
from pyworker.tickets import (
    LIFE_S,
    NONCE_BYTES,
    Scheme,
    TicketKey,
    issue_ticket,
    public_key_pem,
    rsa_message,
    sign_rsa,
)

__all__ = ["FakeEngine"]

_ENDPOINT: Final = "test-endpoint"


class FakeEngine(FakeServer):
    """An engine: takes reports, hands out its key, signs requests for a worker.

    - ``reports`` and ``finished`` are what workers told it and it accepted: ``await engine.reports.where(...)``.
    - ``on("/worker_status/", answer(status=500))`` makes it fail, ``by_hand`` makes it hang; ``on("/worker_status/")``
      makes it well again. What it did not accept is only in ``requests``.
    - ``sign`` and ``ticket`` make the ``auth_data`` of a request, ``envelope`` puts it around a payload.
    - With ``mtoken`` it refuses reports (401) that carry another one.
    - ``clock_offset_s`` is how far its clock goes ahead of this machine's: in ``Date`` and in tickets.
    """

    def __init__(
        self,
        *,
        mtoken: str | None = None,
        ticket_key: TicketKey | None = None,
        clock_offset_s: float = 0.0,
        listening: bool = True,
    ) -> None:
        super().__init__(listening=listening)
        self.mtoken = mtoken
        self.ticket_key = ticket_key or TicketKey("test-key", secrets.token_bytes(32))
        self.clock_offset_s = clock_offset_s
        self.reports: Seen[wire.WorkerStatus] = Seen()
        self.finished: Seen[wire.FinishedRequest] = Seen()
        self._key_number = 0
        self._numbers = itertools.count(1)

    @property
    def key(self) -> rsa.RSAPrivateKey:
        """What it signs with."""
        return _rsa_key(self._key_number)

    def change_key(self) -> None:
        """Sign with another key from now on, and answer ``/pubkey/`` with it."""
        self._key_number += 1

    def sign(
        self,
        url: str,
        *,
        endpoint: str = _ENDPOINT,
        cost: float = 100.0,
        scheme: Scheme = 4,
        reqnum: int | None = None,
        request_idx: int | None = None,
    ) -> dict[str, Any]:
        """The ``auth_data`` of a request to the worker at ``url``, RSA-signed. Numbers count up unless given."""
        claims = self._claims(url, endpoint, cost, reqnum, request_idx)
        claims.signature = sign_rsa(self.key, rsa_message(scheme, claims))
        return dataclasses.asdict(claims)

    def ticket(
        self,
        url: str,
        *,
        endpoint: str = _ENDPOINT,
        cost: float = 100.0,
        reqnum: int | None = None,
        request_idx: int | None = None,
        age_s: float = 0.0,
        life_s: float = LIFE_S,
        key: TicketKey | None = None,
    ) -> dict[str, Any]:
        """The same with a ticket, which was issued ``age_s`` seconds ago (below 0: it will be)."""
        claims = self._claims(url, endpoint, cost, reqnum, request_idx)
        now_s, nonce = self.now_s() - age_s, secrets.token_bytes(NONCE_BYTES)
        claims.signature = issue_ticket(key or self.ticket_key, claims, now_s=now_s, nonce=nonce, life_s=life_s)
        return dataclasses.asdict(claims)

    def ticket_env(self) -> dict[str, str]:
        """The environment that makes a worker take this engine's tickets, and nothing else."""
        secret = base64.urlsafe_b64encode(self.ticket_key.secret).decode()
        return {"PYWORKER_TICKET_KEY": secret, "PYWORKER_TICKET_KEY_ID": self.ticket_key.id}

    @staticmethod
    def envelope(auth_data: dict[str, Any], payload: Any, *, session_id: str | None = None) -> dict[str, Any]:
        """The body of a request to a worker."""
        return {"auth_data": auth_data, "payload": payload, "session_id": session_id}

    @staticmethod
    def proof(auth_data: dict[str, Any], *, session_id: str | None = None) -> str:
        """The value of ``X-Auth-Data``, for a request that is no envelope."""
        return base64.urlsafe_b64encode(wire.dump({**auth_data, "session_id": session_id})).decode().rstrip("=")

    def now_s(self) -> float:
        """The time on its clock, epoch s."""
        return time.time() + self.clock_offset_s

    def _claims(
        self, url: str, endpoint: str, cost: float, reqnum: int | None, request_idx: int | None
    ) -> wire.AuthData:
        number = next(self._numbers)
        return wire.AuthData(
            cost=cost,
            endpoint=endpoint,
            reqnum=number if reqnum is None else reqnum,
            url=url,
            signature="",
            request_idx=number if request_idx is None else request_idx,
        )

    def _own(self, request: FakeRequest) -> Behaviour:
        routes = {
            ("GET", "/pubkey/"): self._pubkey,
            ("POST", "/worker_status/"): self._worker_status,
            ("POST", "/delete_requests/"): self._delete_requests,
        }
        own = routes.get((request.method, request.path))
        return _checked(own) if own else super()._own(request)

    async def _pubkey(self, request: FakeRequest) -> None:
        await self._answer(request, public_key_pem(self.key))

    async def _worker_status(self, request: FakeRequest) -> None:
        report = wire.parse(request.body, wire.WorkerStatus)
        if await self._admit(request, report.mtoken):
            self.reports.append(report)

    async def _delete_requests(self, request: FakeRequest) -> None:
        message = wire.parse(request.body, wire.DeleteRequests)
        if await self._admit(request, message.mtoken):
            for finished in message.requests:
                self.finished.append(finished)

    async def _admit(self, request: FakeRequest, mtoken: str) -> bool:
        known = self.mtoken is None or secrets.compare_digest(mtoken.encode(), self.mtoken.encode())
        await self._answer(request, {"success": known}, status=200 if known else 401)
        return known

    async def _answer(self, request: FakeRequest, body: Any, *, status: int = 200) -> None:
        date = email.utils.formatdate(self.now_s(), usegmt=True)
        await request.answer(body, status=status, headers={"Date": date})


def _checked(behaviour: Behaviour) -> Behaviour:
    """Answer a malformed message as an engine would, with what is wrong about it."""

    async def behave(request: FakeRequest) -> None:
        try:
            await behaviour(request)
        except PyWorkerError as error:
            await request.answer(error.body(), status=error.status)

    return behave


@functools.cache
def _rsa_key(_number: int) -> rsa.RSAPrivateKey:
    """Made once a process: it takes up to a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
