"""Endpoints, addresses and the root certificate, as older ``client.py`` files look them up."""

from __future__ import annotations

import atexit
import functools
import ssl
import tempfile
from pathlib import Path
from typing import Any

from pyworker.client.failures import not_an_engine
from pyworker.client.instances import instance_of
from pyworker.client.management import fetch, list_endpoints

__all__ = ["Endpoint", "get_cert_file_path"]


class Endpoint:
    """Look-ups by name; ``instance`` is prod, alpha, candidate, local, or an engine's address."""

    @staticmethod
    def get_endpoint_info(endpoint_name: str, account_api_key: str, instance: str = "prod") -> dict[str, Any] | None:
        """An endpoint as the engine lists it, with ``id`` and ``api_key``; None when there is none of that name.

        Raises EngineUnreachable, EngineRefused.
        """
        endpoints = list_endpoints(Endpoint.get_server_url(instance), account_api_key)
        return next((endpoint for endpoint in endpoints if endpoint.get("endpoint_name") == endpoint_name), None)

    @staticmethod
    def get_endpoint_api_key(endpoint_name: str, account_api_key: str, instance: str = "prod") -> str | None:
        """The endpoint's own key, which opens ``/route/``; None when the account has no endpoint of that name."""
        endpoint = Endpoint.get_endpoint_info(endpoint_name, account_api_key, instance)
        return None if endpoint is None else endpoint.get("api_key")

    @staticmethod
    def get_autoscaler_server_url(instance: str) -> str:
        """Where requests are routed."""
        return instance_of(instance).engine_url

    @staticmethod
    def get_server_url(instance: str) -> str:
        """Where management calls go."""
        return instance_of(instance).web_url


@functools.cache
def get_cert_file_path(instance: str = "prod") -> str:
    """A file with the root certificate of an instance: fetched once a process, removed at its end.

    Raises EngineUnreachable, EngineRefused.
    """
    url = f"{instance_of(instance).web_url}/static/jvastai_root.cer"
    pem = fetch(url).decode(errors="replace")
    try:
        ssl.PEM_cert_to_DER_cert(pem.strip())
    except ValueError as error:
        raise not_an_engine(url, error) from None
    with tempfile.NamedTemporaryFile("w", prefix="root-", suffix=".cer", delete=False) as file:
        file.write(pem)
    path = Path(file.name)
    atexit.register(path.unlink, missing_ok=True)
    return str(path)
