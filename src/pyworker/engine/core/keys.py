"""Who may ask: the account's API key opens everything, an endpoint's own key only that endpoint's ``/route/``. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac

from pyworker.engine.core.registry import Registry
from pyworker.engine.core.workers import Endpoint
from pyworker.errors import WrongKey

__all__ = ["Keys", "owner"]


def owner(key: str | None) -> str:
    """A name for whoever asks with this key, which does not give it away."""
    return hashlib.sha256((key or "").encode(errors="surrogatepass")).hexdigest()


class Keys:
    """``secret`` is the engine's: an endpoint's key is derived from it, so that it need not be stored to be shown."""

    def __init__(self, account_key: str, secret: bytes) -> None:
        self._account_key = account_key
        self._secret = secret

    def endpoint_key(self, endpoint: Endpoint) -> str:
        """The key that opens this endpoint."""
        mac = hmac.digest(self._secret, f"endpoint-key:{endpoint.id}".encode(), "sha256")
        return f"ek-{endpoint.id}-" + base64.urlsafe_b64encode(mac).rstrip(b"=").decode()

    def require_account(self, key: str | None) -> None:
        """Raises WrongKey unless this is the account's key."""
        if not _same(key, self._account_key):
            raise WrongKey()

    def endpoint_of(self, key: str | None, name: str, registry: Registry) -> Endpoint:
        """The endpoint of that name, when the key opens it. Raises WrongKey; BadRequest when there is none."""
        if _same(key, self._account_key):
            return registry.endpoint(name)
        for endpoint in registry.endpoints:
            if endpoint.name == name and _same(key, self.endpoint_key(endpoint)):
                return endpoint
        raise WrongKey()


def _same(key: str | None, expected: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest((key or "").encode(errors="surrogatepass"), expected.encode())
