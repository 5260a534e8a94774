"""Who is logged in to the dashboard, and whether a browser sends a call from there. Pure.

A login is a random token in a cookie; here only its digest is kept, with that of the account key which opened it. It
is good for as long as that key is, and at most LOGIN_S. ``now_s`` is the engine's monotonic clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, NamedTuple

from pyworker.engine.core.derived import digest
from pyworker.errors import PyWorkerError

__all__ = ["LOGIN_S", "PAGE_HEADER", "CrossSite", "Logins", "require_same_site"]

LOGIN_S: Final = 12 * 3600.0
MOST_LOGINS: Final = 1_000
PAGE_HEADER: Final = "X-Pyworker-Dashboard"  # no other site can have a browser send it
_SAFE: Final = frozenset({"GET", "HEAD"})
_NOT_FOREIGN: Final = frozenset({None, "same-origin", "none"})


class CrossSite(PyWorkerError):
    """Another site has sent this call through a browser: open the dashboard itself."""

    status = 403


class _Login(NamedTuple):
    account: bytes
    opened_s: float


class Logins:
    """Of more than MOST_LOGINS the oldest is closed."""

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, _Login] = OrderedDict()

    def open(self, token: str, account: bytes, now_s: float) -> None:
        """Somebody with the key of this digest has logged in."""
        self._open[digest(token)] = _Login(account, now_s)
        if len(self._open) > MOST_LOGINS:
            self._open.popitem(last=False)

    def account(self, token: str, now_s: float) -> bytes | None:
        """The digest of the key that it was opened with; None when there is no such login, or no longer."""
        login = self._open.get(digest(token))
        return login.account if login is not None and now_s - login.opened_s < LOGIN_S else None

    def close(self, token: str) -> None:
        """Log out."""
        self._open.pop(digest(token), None)


def require_same_site(method: str, headers: Mapping[str, str], host: str, *, always: bool = False) -> None:
    """Raises CrossSite when a browser sends a call for another site than ours.

    What changes something, or everything with ``always``, needs the page's own header besides. A proxy may have taken
    TLS off, so of ``Origin`` only host and port are compared.
    """
    origin = headers.get("Origin")
    is_foreign = origin is not None and origin.partition("://")[2].lower() != host.lower()
    is_marked = PAGE_HEADER in headers or (method in _SAFE and not always)
    if is_foreign or not is_marked or headers.get("Sec-Fetch-Site") not in _NOT_FOREIGN:
        raise CrossSite()
