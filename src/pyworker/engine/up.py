"""``pyworker up``: an engine with what one deployment describes, and the providers that start its workers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec.structs import replace

from pyworker.engine.app import RunningEngine, running_engine
from pyworker.engine.core.deployment.reading import Deployment
from pyworker.engine.core.scaling.memory import Tempo
from pyworker.engine.engine import EngineConfig
from pyworker.engine.providers.base import Provider
from pyworker.engine.providers.external import ExternalProvider
from pyworker.engine.providers.local import LocalProvider

__all__ = ["on_provider", "providers_in", "running_deployment"]


def providers_in(folder: Path, *, ray_address: str | None = None, with_ray: bool = False) -> dict[str, Provider]:
    """The providers of an engine whose data directory is ``folder``.

    Ray's is among them when it is asked for. Raises ProviderError when ray is not installed.
    """
    providers: dict[str, Provider] = {"local": LocalProvider(folder / "workers"), "external": ExternalProvider()}
    if with_ray:
        from pyworker.engine.providers.ray import RayProvider  # noqa: PLC0415 - an extra

        providers["ray"] = RayProvider(folder / "workers", address=ray_address)
    return providers


def on_provider(deployment: Deployment, provider: str | None) -> Deployment:
    """The same deployment with all the workers that are started here started by this provider."""
    if provider is None:
        return deployment
    groups = tuple(
        group if group.provider == "external" else replace(group, provider=provider) for group in deployment.groups
    )
    return replace(deployment, groups=groups)


@asynccontextmanager
async def running_deployment(
    deployment: Deployment,
    config: EngineConfig,
    folder: Path | None,
    providers: Mapping[str, Provider],
    tempo: Tempo | None = None,
) -> AsyncGenerator[RunningEngine]:
    """An engine in which the endpoint is as described, for as long as this is entered; its workers end with it."""
    async with running_engine(config, folder, providers, tempo) as running:
        await running.management.deploy(deployment)
        yield running
