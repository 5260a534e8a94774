"""The guide's import path for load tests and clients."""

from pyworker.load.command import connect, print_truncate_res, test_args, test_load_cmd
from pyworker.load.script import client_cmd

__all__ = ["client_cmd", "connect", "print_truncate_res", "test_args", "test_load_cmd"]
