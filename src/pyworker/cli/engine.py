"""``pyworker engine``."""

# ruff: noqa: PLC0415
from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pyworker.cli.common import JsonOption, examples
from pyworker.cli.serving import (
    AddressOption,
    AllowLaunchOption,
    AllowOption,
    DataOption,
    HostOption,
    KeyOption,
    PortOption,
    PublicUrlOption,
    SignOption,
    TlsCertOption,
    TlsKeyOption,
    TrustOption,
    announce,
    engine_config,
    say_ended,
    say_ending,
    set_up_log,
)

if TYPE_CHECKING:
    from pathlib import Path

    from pyworker.engine.engine import EngineConfig

__all__ = ["add_to", "engine"]


def add_to(app: typer.Typer) -> None:
    """Put the command where it belongs."""
    app.command(
        epilog=examples(
            "pyworker engine",
            "pyworker engine --port 0 --endpoint llm --endpoint images --json",
            "PYWORKER_API_KEY=... pyworker engine --host 0.0.0.0 --allow-network 10.0.0.0/8",
        )
    )(engine)


def engine(  # noqa: PLR0913, PLR0917 - one for each option
    host: HostOption = "127.0.0.1",
    port: PortOption = 8080,
    endpoint: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="An endpoint that shall be there; may be repeated.")
    ] = None,
    api_key: KeyOption = None,
    max_queue_time: Annotated[
        float, typer.Option(min=0, metavar="S", help="Of endpoints that are made: the longest wait before a worker.")
    ] = 30.0,
    allow_network: AllowOption = None,
    data_dir: DataOption = None,
    ray: Annotated[bool, typer.Option("--ray", help="Start workers on a Ray cluster, too.")] = False,
    address: AddressOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    public_url: PublicUrlOption = None,
    trust_network: TrustOption = None,
    sign_without_token: SignOption = False,
    allow_launch: AllowLaunchOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run an engine: it knows the workers, sends each request to one of them, and decides how many there shall be.

    It remembers endpoints, keys and workers from one start to the next, and serves until Ctrl-C or SIGTERM.
    """
    names = endpoint or ["default"]
    config = engine_config(
        api_key,
        names,
        host,
        port,
        allow_network=allow_network,
        tls_cert=tls_cert,
        tls_key=tls_key,
        public_url=public_url,
        trust_network=trust_network,
        sign_without_token=sign_without_token,
        allow_launch=allow_launch,
        max_queue_time_s=max_queue_time,
    )
    _serve(config, data_dir, with_ray=ray, ray_address=address, as_json=as_json)


def _serve(
    config: EngineConfig, data_dir: Path | None, *, with_ray: bool, ray_address: str | None, as_json: bool
) -> None:
    from pyworker.engine.serve import serve
    from pyworker.engine.up import providers_in
    from pyworker.settings import environment, state_folder

    set_up_log()
    folder = data_dir or state_folder(environment()) / "engine"
    step = f"pyworker worker token --endpoint {config.endpoints[0]}    # lets a worker join"
    serve(
        config,
        folder,
        lambda running: announce(running, config.api_key, [step], as_json=as_json),
        lambda: providers_in(folder, with_ray=with_ray, ray_address=ray_address),
        leave=say_ending,
    )
    say_ended(folder)
