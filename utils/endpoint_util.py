"""An older import path for looking endpoints up."""

from pyworker.client.lookup import Endpoint

__all__ = ["Endpoint"]
