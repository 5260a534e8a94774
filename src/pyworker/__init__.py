"""pyworker: the server that stands beside a model server, and the engine it reports to."""

from pyworker.api import ApiPayload, ApiPayload_T, EndpointHandler, LogAction
from pyworker.backend import Backend
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
    "ConfigurationError",
    "EndpointHandler",
    "JsonDataException",
    "LogAction",
    "PassThroughHandler",
    "PyWorkerError",
    "SettingsError",
    "__version__",
    "start_server",
]
