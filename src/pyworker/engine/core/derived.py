"""Keys that are computed and not kept: made from the engine's secrets, the same at every start. Pure.

Each is HMAC-SHA256 of a secret over a text that names its use: no key of one kind can stand for another, and none says
anything of another. All have 256 bits that nobody can guess or try out, so what is kept of those that are kept is their
plain SHA-256: a slow hash is for what people make up, and here would only slow down the engine.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from pyworker.tickets import TicketKey

__all__ = [
    "account_key",
    "digest",
    "endpoint_key",
    "generation_of",
    "mtoken",
    "ticket_key",
    "ticket_key_id",
    "token_name",
]


def ticket_key_id(generation: int, random: bytes) -> str:
    """A name for a worker's ticket key and mtoken, with the generation of the secret that they are derived from."""
    return f"{generation}-{random.hex()}"


def generation_of(key_id: str) -> int:
    """The generation in a ticket key's name. Raises ValueError when it is none of ``ticket_key_id``."""
    return int(key_id.partition("-")[0])


def ticket_key(secret: bytes, key_id: str) -> TicketKey:
    """A worker's ticket key; ``secret`` is the ticket secret of the generation that the name has."""
    return TicketKey(key_id, hmac.digest(secret, f"ticket-key:{key_id}".encode(), "sha256"))


def token_name(key_id: str, number: int) -> str:
    """What a worker's mtoken is derived from: its ticket key's name, and how often it was given another mtoken."""
    return f"{key_id}.{number}" if number else key_id


def mtoken(secret: bytes, name: str) -> str:
    """What a worker proves its reports with; ``name`` is one of ``token_name``. It says nothing of the ticket key."""
    return _text(hmac.digest(secret, f"mtoken:{name}".encode(), "sha256"))


def endpoint_key(secret: bytes, endpoint_id: int, generation: int) -> str:
    """An endpoint's own key. Raising the generation revokes it; an id is never used for another endpoint."""
    mac = hmac.digest(secret, f"endpoint-key:{endpoint_id}:{generation}".encode(), "sha256")
    return f"ek-{endpoint_id}-{_text(mac)}"


def account_key(random: bytes) -> str:
    """A new account key from 32 random bytes."""
    return f"ak-{_text(random)}"


def digest(key: str) -> bytes:
    """What is kept of an account key or an mtoken; it says nothing about the key."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
