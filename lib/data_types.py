"""The guide's import path for payloads, handlers and their data."""

from pyworker.api import ApiPayload, ApiPayload_T, EndpointHandler, LogAction
from pyworker.author_metrics import ModelMetrics, RequestMetrics, SystemMetrics
from pyworker.errors import JsonDataException
from pyworker.wire import AuthData

__all__ = [
    "ApiPayload",
    "ApiPayload_T",
    "AuthData",
    "EndpointHandler",
    "JsonDataException",
    "LogAction",
    "ModelMetrics",
    "RequestMetrics",
    "SystemMetrics",
]
