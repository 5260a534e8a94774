"""The engine's secrets, made at its first start: a folder of files that nobody else may read.

engine-id           whose secrets these are; written last, so that all of them are there when it is
rsa-1.pem ...       keys of the RSA signatures, one file a generation
ticket-1.secret ... what workers' ticket keys and mtokens are derived from, one file a generation
endpoint.secret     what endpoints' own keys are derived from
ca-key.pem ca.pem   the root that signs workers' certificates
"""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from pyworker.engine.core.certificates import Authority
from pyworker.engine.core.derived import endpoint_key, generation_of, mtoken, ticket_key, ticket_key_id, token_name
from pyworker.engine.private_files import make_private_folder, read_private, write_private
from pyworker.engine.store.failures import explained
from pyworker.errors import StoreDamaged, StoreError
from pyworker.tickets import TicketKey

__all__ = ["Identity", "Kind", "has_identity"]

Kind = Literal["rsa", "ticket"]

_ID: Final = "engine-id"
_SUFFIX: Final[Mapping[Kind, str]] = {"rsa": "pem", "ticket": "secret"}
_SECRET_BYTES: Final = 32
_KEY_ID_BYTES: Final = 8

T = TypeVar("T")


def has_identity(folder: Path) -> bool:
    """Whether secrets were made here, all of them."""
    return (folder / _ID).exists()


class Identity:
    """Secrets by generation, newest last. Keys are made and files written: call it from a thread."""

    def __init__(self, folder: Path, now: datetime.datetime) -> None:
        self._folder = folder
        self.rsa_keys: dict[int, rsa.RSAPrivateKey] = _generations(folder, "rsa", _rsa_key)
        self.ticket_secrets: dict[int, bytes] = _generations(folder, "ticket", _secret)
        self._endpoint_secret = _load(folder / "endpoint.secret", _secret)
        key = _load(folder / "ca-key.pem", _ec_key)
        self.authority: Authority = _load(folder / "ca.pem", lambda pem: Authority(key, now, pem))

    @classmethod
    def open(cls, folder: Path, engine_id: str, now: datetime.datetime) -> Identity:
        """The secrets in this folder; those of a new engine are made, in half a second.

        ``now`` is when a new root begins to hold. Raises SecretsExposed with the chmod command; StoreError when the
        secrets are another engine's, or incomplete.
        """
        make_private_folder(folder)
        if not has_identity(folder):
            _make(folder, engine_id, now)
        elif _read(folder / _ID).decode(errors="replace").strip() != engine_id:
            raise StoreError(
                f"the secrets in {folder} are those of another store, so one of the two was lost or replaced: put back "
                "a backup of both, or move the folder away to begin anew (keys that were given out then open nothing)"
            )
        return cls(folder, now)

    @property
    def rsa_key(self) -> rsa.RSAPrivateKey:
        """The newest."""
        return self.rsa_keys[max(self.rsa_keys)]

    def endpoint_key(self, endpoint_id: int, generation: int) -> str:
        """An endpoint's own key."""
        return endpoint_key(self._endpoint_secret, endpoint_id, generation)

    def new_key_id(self) -> str:
        """A name for one worker's ticket key and mtoken, from the newest secret; it is all that needs to be kept."""
        return ticket_key_id(max(self.ticket_secrets), secrets.token_bytes(_KEY_ID_BYTES))

    def is_newest(self, key_id: str) -> bool:
        """Whether it is derived from the newest secret."""
        return generation_of(key_id) == max(self.ticket_secrets)

    def mtoken(self, key_id: str, number: int = 0) -> str | None:
        """The mtoken of that name and number; None when its generation was dropped: give the worker a new one."""
        secret = self.ticket_secrets.get(generation_of(key_id))
        return None if secret is None else mtoken(secret, token_name(key_id, number))

    def ticket_key(self, key_id: str) -> TicketKey | None:
        """The key that a worker was given; None when its generation was dropped: give the worker a new one."""
        secret = self.ticket_secrets.get(generation_of(key_id))
        return None if secret is None else ticket_key(secret, key_id)

    def rotate(self, kind: Kind) -> int:
        """Make a new generation and give its number; those before stay good until they are dropped."""
        if kind == "rsa":
            return _add_generation(self._folder, kind, self.rsa_keys, _new_rsa_key, _rsa_key)
        return _add_generation(self._folder, kind, self.ticket_secrets, _new_secret, _secret)

    def drop_old(self, kind: Kind) -> list[int]:
        """Forget all generations but the newest, for ever; gives their numbers."""
        held = self.rsa_keys if kind == "rsa" else self.ticket_secrets
        old = sorted(held)[:-1]
        for generation in old:
            path = _path(self._folder, kind, generation)
            with explained(path):
                path.unlink(missing_ok=True)
            del held[generation]
        return old


# --- files ----------------------------------------------------------------------------------------


def _make(folder: Path, engine_id: str, now: datetime.datetime) -> None:
    """Make what is missing; a start that was broken off goes on here."""
    _unless_there(_path(folder, "rsa", 1), _new_rsa_key)
    _unless_there(_path(folder, "ticket", 1), _new_secret)
    _unless_there(folder / "endpoint.secret", _new_secret)
    _unless_there(folder / "ca-key.pem", lambda: _pem(ec.generate_private_key(ec.SECP256R1())))
    key = _load(folder / "ca-key.pem", _ec_key)
    _unless_there(folder / "ca.pem", lambda: Authority(key, now).root_pem)
    write_private(folder / _ID, f"{engine_id}\n".encode())


def _unless_there(path: Path, make: Callable[[], bytes]) -> None:
    if not path.exists():
        write_private(path, make())


def _path(folder: Path, kind: Kind, generation: int) -> Path:
    return folder / f"{kind}-{generation}.{_SUFFIX[kind]}"


def _generations(folder: Path, kind: Kind, parse: Callable[[bytes], T]) -> dict[int, T]:
    """By number, oldest first. Raises StoreError when there is none."""
    stems = (path.stem.removeprefix(f"{kind}-") for path in folder.glob(f"{kind}-*.{_SUFFIX[kind]}"))
    numbers = sorted(int(stem) for stem in stems if stem.isdecimal())
    if not numbers:
        raise StoreDamaged(f"{_path(folder, kind, 1)} is missing: put the folder back from a backup")
    return {number: _load(_path(folder, kind, number), parse) for number in numbers}


def _add_generation(
    folder: Path, kind: Kind, held: dict[int, T], make: Callable[[], bytes], parse: Callable[[bytes], T]
) -> int:
    generation = max(held) + 1
    path = _path(folder, kind, generation)
    write_private(path, make())
    held[generation] = _load(path, parse)
    return generation


def _load(path: Path, parse: Callable[[bytes], T]) -> T:
    content = _read(path)
    try:
        return parse(content)
    except (ValueError, TypeError) as error:
        raise StoreDamaged(f"{path} cannot be used ({error}): put the folder back from a backup") from None


def _read(path: Path) -> bytes:
    if not path.exists():
        raise StoreDamaged(f"{path} is missing: put the folder back from a backup")
    return read_private(path)


# --- what is in them ------------------------------------------------------------------------------


def _new_secret() -> bytes:
    return f"{secrets.token_hex(_SECRET_BYTES)}\n".encode()


def _secret(content: bytes) -> bytes:
    secret = bytes.fromhex(content.decode().strip())
    if len(secret) != _SECRET_BYTES:
        raise ValueError(f"a secret is {_SECRET_BYTES} bytes as hexadecimal digits")
    return secret


def _new_rsa_key() -> bytes:
    return _pem(rsa.generate_private_key(65537, 2048))


def _rsa_key(pem: bytes) -> rsa.RSAPrivateKey:
    key = load_pem_private_key(pem, None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("it is not an RSA key")
    return key


def _ec_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("it is not an elliptic curve key")
    return key


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
