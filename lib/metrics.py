"""The guide's import path for a worker's numbers."""

from pyworker.author_metrics import Metrics, get_url

__all__ = ["Metrics", "get_url"]
