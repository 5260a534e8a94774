"""The guide's import path for starting a worker."""

from pyworker.worker.serve import start_server

__all__ = ["start_server"]
