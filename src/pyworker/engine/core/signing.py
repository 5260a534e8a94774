"""What proves to a worker that the engine sent a request: a ticket when it has a ticket key, RSA when not. Pure."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import rsa

from pyworker.engine.core.workers import Token
from pyworker.tickets import LIFE_S, NONCE_BYTES, issue_ticket, public_key_pem, rsa_message, sign_rsa
from pyworker.wire import AuthData

__all__ = ["LIFE_S", "Signer"]


class Signer:
    """Signs with one RSA key and with workers' ticket keys. ``random_bytes(n)`` must be unpredictable."""

    def __init__(self, key: rsa.RSAPrivateKey, random_bytes: Callable[[int], bytes]) -> None:
        self.public_key_pem = public_key_pem(key)
        self._key = key
        self._random_bytes = random_bytes
        self._url_signatures: dict[str, str] = {}

    def sign(self, token: Token, claims: AuthData, epoch_s: float) -> AuthData:
        """The claims with their signature."""
        return dataclasses.replace(claims, signature=self._signature(token, claims, epoch_s))

    def request_uuid(self) -> str:
        """A name for one answer."""
        return str(uuid.UUID(bytes=self._random_bytes(16), version=4))

    def _signature(self, token: Token, claims: AuthData, epoch_s: float) -> str:
        if token.ticket_key is not None:
            return issue_ticket(token.ticket_key, claims, now_s=epoch_s, nonce=self._random_bytes(NONCE_BYTES))
        if token.signature_scheme != 4:
            return sign_rsa(self._key, rsa_message(token.signature_scheme, claims))
        if claims.url not in self._url_signatures:  # the address alone is signed: once is enough
            self._url_signatures[claims.url] = sign_rsa(self._key, rsa_message(4, claims))
        return self._url_signatures[claims.url]
