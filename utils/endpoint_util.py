"""Endpoints and addresses, as older ``client.py`` files look them up."""

from __future__ import annotations

from typing import Any

from pyworker.client.instances import instance_of
from pyworker.client.management import list_endpoints

__all__ = ["Endpoint"]


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
