"""Which addresses a worker may claim. Pure.

The gateway will call them, so a worker must not point it anywhere it likes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

from pyworker.errors import BadRequest

__all__ = ["ANYWHERE", "Network", "check_worker_url", "host_of", "is_at", "is_loopback", "require_safe_way"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

ANYWHERE: Final[tuple[Network, ...]] = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))

_LONGEST_URL = 256


def check_worker_url(url: str, networks: Sequence[Network]) -> None:
    """Raises BadRequest unless ``url`` is a plain ``http[s]://address[:port]`` inside one of the networks."""
    parts = _split(url)
    plain = parts.scheme in {"http", "https"} and parts.path in {"", "/"}
    if not plain or parts.query or parts.fragment or "@" in parts.netloc or len(url) > _LONGEST_URL:
        raise BadRequest(f"a worker's url is http[s]://address:port and nothing more, not {url[:_LONGEST_URL]!r}")
    address = _address(parts.hostname or "")
    if not any(address in network for network in networks):
        raise BadRequest(f"the worker's address {address} is in none of the networks that this engine allows")


def require_safe_way(url: str, trusted: Sequence[Network]) -> None:
    """Raises BadRequest unless a secret may be sent to a url that was checked.

    It may over https, and over plain http to this machine or into a network that is trusted not to be listened to.
    """
    if urlsplit(url).scheme == "https":
        return
    address = _address(host_of(url))
    if not address.is_loopback and not any(address in network for network in trusted):
        raise BadRequest(
            f"the worker at {url} has no certificate, and its mtoken is not sent over plain http: start it with "
            "USE_SSL=true, or the engine with --trust-network for its network"
        )


def host_of(url: str) -> str:
    """The host of a url that was checked."""
    return urlsplit(url).hostname or ""


def is_at(url: str, address: str) -> bool:
    """Whether the host of a url that was checked is this IP address; an IPv4 one may be written as IPv6."""
    try:
        asked = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = asked.ipv4_mapped if isinstance(asked, ipaddress.IPv6Address) else None
    return _address(host_of(url)) == (mapped or asked)


def is_loopback(host: str) -> bool:
    """Whether only this machine can call what listens there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is not a port
    except ValueError as error:
        raise BadRequest(f"the worker's url cannot be read: {error}") from None
    return parts


def _address(host: str) -> _Address:
    """The IP address; a name is not looked up, because what it means could change after the check."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise BadRequest(f"a worker's url holds an IP address (or localhost), not {host!r}") from None
    if address.is_multicast or address.is_unspecified or address.is_link_local:
        raise BadRequest(f"no worker can be at {address}")
    return address
