"""The model server's address, from the URL and the port that authors give apart."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from pyworker.backend import is_address

__all__ = ["address_problems", "model_address"]

_HERE = "http://127.0.0.1"
_LAST_PORT = 65535


def model_address(url: str | None, port: int | str | None) -> str:
    """Both in one; "" when neither is given. They are those in which ``address_problems`` found none."""
    if not url and port is None:
        return ""
    whole = _with_scheme(url or _HERE)
    parts = urlsplit(whole)
    if port is None or parts.port is not None:
        return whole
    return parts._replace(netloc=f"{parts.netloc}:{int(port)}").geturl()


def address_problems(url: object, port: object) -> Iterator[str]:
    """What is wrong with them."""
    if not (url is None or isinstance(url, str)):
        yield f"model_server_url is {url!r}; it takes an address like 'http://127.0.0.1'"
        return
    if not _is_port(port):
        yield f"model_server_port is {port!r}; it takes a number from 1 to {_LAST_PORT}"
        return
    if not url:
        return
    whole = _with_scheme(url)
    if not is_address(whole):
        yield f"model_server_url is {url!r}; it takes an address like 'http://127.0.0.1:5001'"
        return
    own = urlsplit(whole).port
    if port is not None and own is not None and own != int(str(port)):
        yield f"model_server_url {url!r} names port {own}, and model_server_port {port}; leave one of them out"


def _with_scheme(url: str) -> str:
    return url if "://" in url else f"http://{url}"


def _is_port(port: object) -> bool:
    if port is None:
        return True
    if isinstance(port, str):
        return port.isascii() and port.isdigit() and 0 < int(port) <= _LAST_PORT
    return isinstance(port, int) and not isinstance(port, bool) and 0 < port <= _LAST_PORT
