"""The guide's import path for the Backend."""

from pyworker.api import LogAction
from pyworker.backend import Backend

__all__ = ["Backend", "LogAction"]
