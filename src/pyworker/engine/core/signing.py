"""What proves to a worker that the engine sent a request: a ticket when it has a ticket key, RSA when not. Pure."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.asymmetric import rsa

from pyworker.engine.core.workers import Worker
from pyworker.tickets import LIFE_S, NONCE_BYTES, issue_ticket, public_key_pem, rsa_message, sign_rsa
from pyworker.wire import AuthData

__all__ = ["LIFE_S", "Signer"]


class Signer:
    """Signs with RSA keys, by generation, and with workers' ticket keys. ``random_bytes(n)`` must be unpredictable.

    The newest generation is what ``/pubkey/`` hands out. A worker that has fetched an older one is signed for with
    that, until it starts again: workers in the field fetch the key once.
    """

    def __init__(self, keys: Mapping[int, rsa.RSAPrivateKey], random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._url_signatures: dict[tuple[int, str], str] = {}
        self.use(keys)

    def use(self, keys: Mapping[int, rsa.RSAPrivateKey]) -> None:
        """These keys from now on."""
        self._keys = dict(keys)
        self.generation = max(keys)
        self.public_key_pem = public_key_pem(keys[self.generation])
        self._url_signatures.clear()

    def sign(self, worker: Worker, claims: AuthData, epoch_s: float) -> AuthData:
        """The claims with their signature."""
        return dataclasses.replace(claims, signature=self._signature(worker, claims, epoch_s))

    def request_uuid(self) -> str:
        """A name for one answer."""
        return str(uuid.UUID(bytes=self._random_bytes(16), version=4))

    def _signature(self, worker: Worker, claims: AuthData, epoch_s: float) -> str:
        if worker.ticket_key is not None:
            return issue_ticket(worker.ticket_key, claims, now_s=epoch_s, nonce=self._random_bytes(NONCE_BYTES))
        generation = worker.rsa_generation if worker.rsa_generation in self._keys else self.generation
        if worker.signature_scheme != 4:
            return sign_rsa(self._keys[generation], rsa_message(worker.signature_scheme, claims))
        known = (generation, claims.url)
        if known not in self._url_signatures:  # the address alone is signed: once is enough
            self._url_signatures[known] = sign_rsa(self._keys[generation], rsa_message(4, claims))
        return self._url_signatures[known]
