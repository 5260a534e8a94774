"""Workers on machines of one's own: they join with a token, and nobody here starts or stops them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from pyworker.engine.providers.base import Instance, InstanceSpec
from pyworker.errors import ProviderError

__all__ = ["ExternalProvider"]


class ExternalProvider:
    """Starts nothing and knows of nothing; says what to do instead."""

    async def create(self, spec: InstanceSpec) -> None:
        """Raises ProviderError."""
        _refuse(f"a worker for {spec.name}")

    async def start(self, instance_id: int, environment: Mapping[str, str] | None = None) -> None:  # noqa: ARG002
        """Raises ProviderError."""
        _refuse(f"worker {instance_id}")

    async def stop(self, instance_id: int) -> None:
        """Nothing: a worker that shall end is told so by its engine."""

    async def destroy(self, instance_id: int) -> None:
        """Nothing: there is nothing of it here."""

    async def list(self) -> Sequence[Instance]:
        """None."""
        return ()

    async def logs(self, instance_id: int, tail: int = 50) -> dict[str, list[str]]:  # noqa: ARG002
        """None: they are on its machine."""
        return {}

    async def close(self) -> None:
        """Nothing: they go on."""


def _refuse(what: str) -> NoReturn:
    raise ProviderError(
        f"{what} is not started from here (provider external): get a token with `pyworker worker token`, "
        "and start it on its machine with what that prints"
    )
