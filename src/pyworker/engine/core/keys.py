"""Who may ask: an account key opens everything, an endpoint's own key only that endpoint. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable

from pyworker.engine.core.derived import digest
from pyworker.engine.core.endpoints import Endpoint
from pyworker.engine.core.registry import Registry
from pyworker.errors import WrongKey

__all__ = ["Keys", "owner"]


def owner(key: str | None) -> str:
    """A name for whoever asks with this key, which does not give it away."""
    return digest(key or "").hex()


class Keys:
    """``derive(id, generation)`` gives an endpoint's own key, so that it need not be stored to be shown."""

    def __init__(self, account_digests: Iterable[bytes], derive: Callable[[int, int], str]) -> None:
        self._accounts = set(account_digests)
        self._derive = derive

    def allow(self, account_digest: bytes) -> None:
        """An account key opens from now on."""
        self._accounts.add(account_digest)

    def revoke(self, account_digest: bytes) -> None:
        """It opens nothing any more."""
        self._accounts.discard(account_digest)

    def endpoint_key(self, endpoint: Endpoint) -> str:
        """The key that opens this endpoint; another one for each generation."""
        return self._derive(endpoint.id, endpoint.generation)

    def opens_account(self, key: str | None) -> bool:
        """Whether this is an account key. Looked up by its digest, so time tells nothing of it."""
        return key is not None and digest(key) in self._accounts

    def require_account(self, key: str | None) -> None:
        """Raises WrongKey unless this is an account key."""
        if not self.opens_account(key):
            raise WrongKey()

    def require(self, key: str | None, endpoint: Endpoint) -> None:
        """Raises WrongKey unless this opens the endpoint, whatever has become of that."""
        if not (self.opens_account(key) or _same(key, self.endpoint_key(endpoint))):
            raise WrongKey()

    def endpoint_of(self, key: str | None, name: str, registry: Registry) -> Endpoint:
        """The endpoint of that name, when the key opens it. Raises WrongKey; BadRequest when there is none."""
        if self.opens_account(key):
            return registry.endpoint(name)
        for endpoint in registry.endpoints:
            if endpoint.name == name and _same(key, self.endpoint_key(endpoint)):
                return endpoint
        raise WrongKey()


def _same(key: str | None, expected: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest((key or "").encode(errors="surrogatepass"), expected.encode())
