"""Who may ask: an account key opens everything, an endpoint's own key only that endpoint. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping

from pyworker.engine.core.derived import digest
from pyworker.engine.core.endpoints import Endpoint
from pyworker.engine.core.key_limits import NO_LIMITS, KeyLimits
from pyworker.engine.core.registry import Registry
from pyworker.errors import WrongKey

__all__ = ["Keys", "owner"]


def owner(key: str | None) -> str:
    """A name for whoever asks with this key, which does not give it away."""
    return digest(key or "").hex()


class Keys:
    """``accounts`` are the account keys' digests, with their limits.

    ``derive(id, generation)`` gives an endpoint's own key, so that it need not be stored to be shown.
    """

    def __init__(self, accounts: Mapping[bytes, KeyLimits], derive: Callable[[int, int], str]) -> None:
        self._accounts = dict(accounts)
        self._derive = derive

    def allow(self, account_digest: bytes, limits: KeyLimits = NO_LIMITS) -> None:
        """An account key opens from now on, within these limits."""
        self._accounts[account_digest] = limits

    def limit(self, account_digest: bytes, limits: KeyLimits) -> None:
        """An account key has other limits from now on; one that opens nothing any more stays so."""
        if self.knows(account_digest):
            self._accounts[account_digest] = limits

    def revoke(self, account_digest: bytes) -> None:
        """It opens nothing any more."""
        self._accounts.pop(account_digest, None)

    def knows(self, account_digest: bytes) -> bool:
        """Whether this account key opens."""
        return account_digest in self._accounts

    def endpoint_key(self, endpoint: Endpoint) -> str:
        """The key that opens this endpoint; another one for each generation."""
        return self._derive(endpoint.id, endpoint.generation)

    def opens_account(self, key: str | None) -> bool:
        """Whether this is an account key. Looked up by its digest, so time tells nothing of it."""
        return key is not None and self.knows(digest(key))

    def limits_of(self, key: str | None, endpoint: Endpoint) -> KeyLimits:
        """What a key that opens this endpoint may ask: an account key's own limits, or those of the endpoint's key."""
        limits = self._accounts.get(digest(key)) if key is not None else None
        return endpoint.parameters.key_limits if limits is None else limits

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
