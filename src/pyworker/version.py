"""The version, which reports and ``--version`` show."""

__all__ = ["__version__"]

__version__ = "0.1.0"
