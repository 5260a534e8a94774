"""An older import path for the root certificate."""

from pyworker.client.lookup import get_cert_file_path

__all__ = ["get_cert_file_path"]
