"""Signatures that prove a request came from the engine: the RSA schemes, and single-use tickets.

Pure: keys, time and nonces are arguments.

*RSA* (the wire, section 4): PKCS#1 v1.5 with SHA-256 over ``json.dumps(message, indent=4)``, base64. Schemes 1 and 3
sign the whole claim, scheme 4 the worker's url alone.

*Tickets* (the wire, section 4.1): base64url of ``version | issued_ms | expires_ms | nonce | key id | MAC``, the MAC
being HMAC-SHA256 over all that stands before it and the claims (url, endpoint, cost, reqnum, request_idx).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pyworker.errors import AuthenticationFailed
from pyworker.wire import AuthData

__all__ = [
    "LIFE_S",
    "NONCE_BYTES",
    "SCHEMES",
    "Scheme",
    "Ticket",
    "TicketKey",
    "issue_ticket",
    "load_public_key",
    "public_key_pem",
    "read_ticket",
    "rsa_message",
    "sign_rsa",
    "verify_rsa",
]

Scheme = Literal[1, 3, 4]
SCHEMES: Final[tuple[Scheme, ...]] = (4, 3, 1)  # in the order they are tried: newest first

LIFE_S: Final = 60.0
NONCE_BYTES: Final = 16

_VERSION: Final = 1
_HEAD: Final = struct.Struct(">BQQ16sB")  # version, issued, expires (epoch ms), nonce, length of the key id
_CLAIM_NUMBERS: Final = struct.Struct(">dQQ")  # cost, reqnum, request_idx
_MAC_BYTES: Final = hashlib.sha256().digest_size


# --- RSA ------------------------------------------------------------------------------------------


def rsa_message(scheme: Scheme, auth_data: AuthData) -> bytes:
    """The bytes that a signature of this scheme covers. ``cost`` is dumped as it was received."""
    if scheme == 4:
        message: dict[str, object] = {"url": auth_data.url}
    else:
        message = {
            "cost": auth_data.cost,
            "endpoint": auth_data.endpoint,
            "reqnum": auth_data.reqnum,
            **({"request_idx": auth_data.request_idx} if scheme == 3 else {}),
            "url": auth_data.url,
        }
    return json.dumps(message, indent=4).encode()


def sign_rsa(key: rsa.RSAPrivateKey, message: bytes) -> str:
    """The base64 signature of a message."""
    return base64.b64encode(key.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()


def verify_rsa(key: rsa.RSAPublicKey, signature: str, message: bytes) -> bool:
    """Whether ``signature`` (base64) is the key's over ``message``."""
    try:
        key.verify(base64.b64decode(signature, validate=True), message, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def load_public_key(pem: bytes) -> rsa.RSAPublicKey:
    """The engine's public key from PEM. Raises ValueError when it is not an RSA key of 2048 bits or more."""
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
        raise ValueError("the engine's public key must be RSA with at least 2048 bits")
    return key


def public_key_pem(key: rsa.RSAPrivateKey) -> bytes:
    """The public half, as ``/pubkey/`` answers it."""
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(encoding, form)


# --- tickets --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TicketKey:
    """A secret that engine and one worker share, and its name (at most 64 characters)."""

    id: str
    secret: bytes

    @property
    def text(self) -> str:
        """The secret as a worker's environment has it: base64url."""
        return _text(self.secret)

    def __repr__(self) -> str:
        return f"TicketKey(id={self.id!r})"


class Ticket(msgspec.Struct, frozen=True):
    """What a valid ticket says: times in epoch s of the engine's clock, and the nonce that makes it single-use."""

    issued_s: float
    expires_s: float
    nonce: bytes


def issue_ticket(key: TicketKey, claims: AuthData, *, now_s: float, nonce: bytes, life_s: float = LIFE_S) -> str:
    """A ticket for exactly these claims (their ``signature`` is not looked at), good from now for ``life_s``."""
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"a nonce is {NONCE_BYTES} bytes")
    key_id = key.id.encode()
    issued_ms = int(now_s * 1000)
    head = _HEAD.pack(_VERSION, issued_ms, issued_ms + int(life_s * 1000), nonce, len(key_id)) + key_id
    return _text(head + _mac(key.secret, head, claims))


def read_ticket(signature: str, claims: AuthData, keys: Mapping[str, TicketKey]) -> Ticket:
    """The ticket, when its MAC holds for these claims. Raises AuthenticationFailed otherwise.

    Whether it is still good (time, nonce) is for the caller to decide.
    """
    try:
        raw = base64.b64decode(signature + "=" * (-len(signature) % 4), altchars=b"-_", validate=True)
        version, issued_ms, expires_ms, nonce, id_bytes = _HEAD.unpack_from(raw)
        head, mac = raw[: _HEAD.size + id_bytes], raw[_HEAD.size + id_bytes :]
        key = keys[head[_HEAD.size :].decode()]
        expected = _mac(key.secret, head, claims)
    except (binascii.Error, ValueError, struct.error, KeyError, OverflowError):
        raise AuthenticationFailed("the signature is not a ticket of a key that this worker has") from None
    if version != _VERSION or len(mac) != _MAC_BYTES or not hmac.compare_digest(mac, expected):
        raise AuthenticationFailed("the ticket's MAC does not hold for these claims")
    if _text(raw) != signature:  # base64 can spell the same bytes in several ways; a ticket has one
        raise AuthenticationFailed("the ticket is not spelled as it was issued")
    return Ticket(issued_ms / 1000, expires_ms / 1000, nonce)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _mac(secret: bytes, head: bytes, claims: AuthData) -> bytes:
    """HMAC-SHA256 over the ticket's head and the claims, each text preceded by its length so that none runs over."""
    url, endpoint = claims.url.encode(), claims.endpoint.encode()
    numbers = _CLAIM_NUMBERS.pack(claims.cost, claims.reqnum, claims.request_idx)
    lengths = struct.pack(">II", len(url), len(endpoint))
    return hmac.digest(secret, head + numbers + lengths + url + endpoint, "sha256")
