"""An older import path for load tests."""

from pyworker.load.command import run

__all__ = ["run"]
