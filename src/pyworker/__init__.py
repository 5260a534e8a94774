"""pyworker: the server that stands beside a model server, and the engine it reports to.

Names are imported when they are first used, so that the command line and small tools start without a web server.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyworker.api import ApiPayload, ApiPayload_T, EndpointHandler, LogAction
    from pyworker.backend import Backend
    from pyworker.config import BenchmarkConfig, HandlerConfig, LogActionConfig, WorkerConfig
    from pyworker.declared import Worker
    from pyworker.errors import ConfigurationError, JsonDataException, PyWorkerError, SettingsError
    from pyworker.handlers import PassThroughHandler
    from pyworker.version import __version__
    from pyworker.wire import AuthData
    from pyworker.worker.serve import start_server

__all__ = [
    "ApiPayload",
    "ApiPayload_T",
    "AuthData",
    "Backend",
    "BenchmarkConfig",
    "ConfigurationError",
    "EndpointHandler",
    "HandlerConfig",
    "JsonDataException",
    "LogAction",
    "LogActionConfig",
    "PassThroughHandler",
    "PyWorkerError",
    "SettingsError",
    "Worker",
    "WorkerConfig",
    "__version__",
    "start_server",
]

_HOMES = {
    "pyworker.api": ("ApiPayload", "ApiPayload_T", "EndpointHandler", "LogAction"),
    "pyworker.backend": ("Backend",),
    "pyworker.config": ("BenchmarkConfig", "HandlerConfig", "LogActionConfig", "WorkerConfig"),
    "pyworker.declared": ("Worker",),
    "pyworker.errors": ("ConfigurationError", "JsonDataException", "PyWorkerError", "SettingsError"),
    "pyworker.handlers": ("PassThroughHandler",),
    "pyworker.version": ("__version__",),
    "pyworker.wire": ("AuthData",),
    "pyworker.worker.serve": ("start_server",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(importlib.import_module(module), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
