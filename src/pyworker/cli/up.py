"""``pyworker up``."""

# ruff: noqa: PLC0415
from __future__ import annotations

from pathlib import Path
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
    from pyworker.engine.core.deployment.reading import Deployment
    from pyworker.engine.engine import EngineConfig

__all__ = ["add_to", "up"]


def add_to(app: typer.Typer) -> None:
    """Put the command where it belongs."""
    app.command(
        epilog=examples(
            "pyworker up workers/hello_world",
            "pyworker up deployment.toml --port 0",
            "pyworker up deployment.toml --provider ray --address auto",
        )
    )(up)


def up(  # noqa: PLR0913, PLR0917 - one for each option
    target: Annotated[Path, typer.Argument(help="A deployment.toml, or a folder with one.")],
    provider: Annotated[
        str | None, typer.Option(metavar="local|ray", help="Start all workers there, whatever the file says.")
    ] = None,
    address: AddressOption = None,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8080,
    api_key: KeyOption = None,
    allow_network: AllowOption = None,
    data_dir: DataOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    public_url: PublicUrlOption = None,
    trust_network: TrustOption = None,
    sign_without_token: SignOption = False,
    allow_launch: AllowLaunchOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run an engine with one deployment: it starts and stops the workers as they are needed.

    What it does and why, line by line, goes to the log. With Ctrl-C the workers finish what they have and end; the next
    start finds their folders again.
    """
    deployment = _described(target, provider)
    config = engine_config(
        api_key,
        (),
        host,
        port,
        allow_network=allow_network,
        tls_cert=tls_cert,
        tls_key=tls_key,
        public_url=public_url,
        trust_network=trust_network,
        sign_without_token=sign_without_token,
        allow_launch=allow_launch,
    )
    _serve(config, deployment, data_dir, ray_address=address, as_json=as_json)


def _described(target: Path, provider: str | None) -> Deployment:
    from pyworker.engine.deployment import load
    from pyworker.engine.up import on_provider

    if provider not in {None, "local", "ray"}:
        raise typer.BadParameter(f"{provider!r} starts no workers: local or ray do", param_hint="--provider")
    return on_provider(load(target), provider)


def _serve(
    config: EngineConfig, deployment: Deployment, data_dir: Path | None, *, ray_address: str | None, as_json: bool
) -> None:
    from pyworker.engine.serve import serve
    from pyworker.engine.up import providers_in
    from pyworker.settings import environment, state_folder

    set_up_log()
    folder = data_dir or state_folder(environment()) / "deployments" / deployment.name
    with_ray = any(group.provider == "ray" for group in deployment.groups)
    step = f"pyworker endpoint show {deployment.name}"
    serve(
        config,
        folder,
        lambda running: announce(running, config.api_key, [step], as_json=as_json),
        lambda: providers_in(folder, with_ray=with_ray, ray_address=ray_address),
        deployment,
        say_ending,
    )
    say_ended(folder)
