"""HTTP to the engine: the address that works first, each with a short timeout; its clock and its key."""

from __future__ import annotations

import asyncio
import email.utils
import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

import aiohttp

from pyworker.tickets import load_public_key
from pyworker.worker.core.gate import Gate
from pyworker.worker.core.trouble import Trouble

__all__ = ["EngineLink"]

log = logging.getLogger("pyworker.engine_link")

TIMEOUT_S = 3.0
KEY_AGAIN_S = 10.0
NOT_KNOWN_THERE = (
    "the engine does not know this worker's token (it was restarted, or the token was revoked or is another worker's): "
    "get a new one with `pyworker worker token -e ENDPOINT` and start the worker with it"
)


class _Failure(NamedTuple):
    """Why a call failed; failures of one ``kind`` are alike. ``status`` is 0 when there was no answer."""

    kind: str
    error: str
    status: int = 0


class EngineLink:
    """The engine at one of ``addrs``. Calls never raise for what the network does: they say whether it worked."""

    def __init__(self, addrs: Sequence[str], gate: Gate) -> None:
        self._addrs = list(addrs)
        self._gate = gate
        self._session: aiohttp.ClientSession | None = None
        self._key_asked_s = float("-inf")
        self._key_pem = b""
        self._asking_key: asyncio.Task[bool] | None = None
        self._trouble = Trouble()
        self.errors = 0

    @property
    def last_error(self) -> str:
        """Why the engine cannot be told; "" while it can."""
        return self._trouble.error

    async def post(self, path: str, body: bytes) -> bool:
        """POST JSON. True when an address has answered 2xx."""
        return await self._first("POST", path, body) is not None

    async def refresh_key(self) -> bool:
        """Ask for the public key, at most every KEY_AGAIN_S. True when the gate has got a new one."""
        if self._asking_key is None:
            now_s = time.monotonic()
            if not self._addrs or now_s - self._key_asked_s < KEY_AGAIN_S:
                return False
            self._key_asked_s = now_s
            self._asking_key = asyncio.create_task(self._ask_key())
            self._asking_key.add_done_callback(self._asked_key)
        return await asyncio.shield(self._asking_key)

    async def keep_key(self) -> None:
        """Until the key is known: ask for it."""
        while self._gate.public_key is None:
            await self.refresh_key()
            if self._gate.public_key is None:
                await asyncio.sleep(1.0)
                self._key_asked_s = float("-inf")

    def _asked_key(self, _task: asyncio.Task[bool]) -> None:
        self._asking_key = None

    async def _ask_key(self) -> bool:
        pem = await self._first("GET", "/pubkey/", None)
        if pem is None or pem == self._key_pem:
            return False
        try:
            self._gate.trust(load_public_key(pem))
        except ValueError as error:
            log.warning("the engine's answer to /pubkey/ is no key: %s", error)
            return False
        self._key_pem = pem
        log.info("the engine's public key is known")
        return True

    async def _first(self, method: str, path: str, body: bytes | None) -> bytes | None:
        """The first 2xx answer; the address that gave it is asked first from then on."""
        failures: list[_Failure] = []
        for addr in list(self._addrs):
            answer = await self._ask(addr, method, path, body)
            if isinstance(answer, bytes):
                self._prefer(addr)
                self._log(logging.INFO, self._trouble.succeeded(path, time.monotonic()))
                return answer
            self.errors += 1
            failures.append(answer)
        if failures:  # an engine that answers says more than one that does not
            worst = max(failures, key=lambda failure: failure.status)
            self._log(logging.WARNING, self._trouble.failed(path, worst.kind, worst.error, time.monotonic()))
        return None

    def _prefer(self, addr: str) -> None:
        if self._addrs[0] != addr:
            self._addrs.remove(addr)
            self._addrs.insert(0, addr)
            log.info("the engine is asked at %s first from now on", addr)

    async def _ask(self, addr: str, method: str, path: str, body: bytes | None) -> bytes | _Failure:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        sent_s = time.time()
        headers = {"Content-Type": "application/json"} if body is not None else None
        try:
            async with self._session.request(method, addr + path, data=body, headers=headers) as answer:
                self._hear_clock(answer.headers.get("Date"), sent_s)
                if 200 <= answer.status < 300:
                    return await answer.read()
        except (aiohttp.ClientError, OSError) as error:  # a timeout is an OSError
            return _Failure("no answer", f"{addr}{path}: {type(error).__name__}")
        if answer.status == 401 and body is not None:
            return _Failure("401", NOT_KNOWN_THERE, 401)
        return _Failure(str(answer.status), f"{addr}{path} answers {answer.status}", answer.status)

    def _log(self, level: int, line: str) -> None:
        if line:
            log.log(level, "%s", line)

    def _hear_clock(self, date: str | None, sent_s: float) -> None:
        try:
            date_s = email.utils.parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            return
        self._gate.clock.heard(date_s, sent_s=sent_s, received_s=time.time())

    async def close(self) -> None:
        """Close its connections."""
        if self._asking_key is not None:
            self._asking_key.cancel()
        if self._session is not None:
            await self._session.close()
