"""What `pyworker engine` and `pyworker up` share: how an engine is served, and what is said once it is."""

# ruff: noqa: PLC0415
from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyworker.engine.app import RunningEngine
    from pyworker.engine.core.addresses import Network
    from pyworker.engine.engine import EngineConfig

__all__ = [
    "AddressOption",
    "AllowLaunchOption",
    "AllowOption",
    "DataOption",
    "HostOption",
    "KeyOption",
    "PortOption",
    "PublicUrlOption",
    "SignOption",
    "TlsCertOption",
    "TlsKeyOption",
    "TrustOption",
    "announce",
    "engine_config",
    "say_ended",
    "say_ending",
    "set_up_log",
    "tls_files",
]

HostOption = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")]
PortOption = Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free one.")]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        "-k",
        metavar="KEY",
        envvar="PYWORKER_API_KEY",
        help="Opens everything while it runs. At a first start without one, one is made and shown.",
    ),
]
AllowOption = Annotated[
    list[str] | None,
    typer.Option("--allow-network", metavar="CIDR", help="Where workers may be; may be repeated. Default: anywhere."),
]
TrustOption = Annotated[
    list[str] | None,
    typer.Option(
        "--trust-network",
        metavar="CIDR",
        help="Where nobody listens: workers there are called with their mtoken over plain http. May be repeated.",
    ),
]
SignOption = Annotated[
    bool,
    typer.Option(
        "--sign-without-token",
        help="Old start scripts send no mtoken: sign an instance's first certificate for its address.",
    ),
]
AllowLaunchOption = Annotated[
    bool,
    typer.Option("--allow-launch", help="Let whoever has an account key run commands here, from other machines too."),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="What it remembers. Default: in ~/.local/state/pyworker"),
]
TlsCertOption = Annotated[
    str | None, typer.Option("--tls-cert", metavar="FILE", help="Serve https with this certificate (PEM).")
]
TlsKeyOption = Annotated[str | None, typer.Option("--tls-key", metavar="FILE", help="The certificate's key (PEM).")]
PublicUrlOption = Annotated[
    str | None,
    typer.Option("--public-url", metavar="URL", help="Under which workers on other machines reach this engine."),
]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", metavar="ADDRESS", help="The Ray cluster: auto, host:port or ray://...; default: here."),
]


def engine_config(
    api_key: str | None,
    endpoints: Sequence[str],
    host: str,
    port: int,
    *,
    allow_network: Sequence[str] | None,
    tls_cert: str | None,
    tls_key: str | None,
    public_url: str | None,
    trust_network: Sequence[str] | None,
    sign_without_token: bool,
    allow_launch: bool,
    max_queue_time_s: float = 30.0,
) -> EngineConfig:
    """The configuration; what cannot be is told before anything is started."""
    from pyworker.engine.core.addresses import ANYWHERE
    from pyworker.engine.engine import EngineConfig

    return EngineConfig(
        api_key=api_key,
        endpoints=endpoints,
        host=host,
        port=port,
        max_queue_time_s=max_queue_time_s,
        networks=[_network(text, "--allow-network") for text in allow_network] if allow_network else ANYWHERE,
        trusted_networks=[_network(text, "--trust-network") for text in trust_network or ()],
        sign_without_token=sign_without_token,
        allow_launch=allow_launch,
        tls=tls_files(tls_cert, tls_key),
        public_url=(public_url or "").rstrip("/"),
    )


def tls_files(certificate: str | None, key: str | None) -> tuple[str, str] | None:
    """Both, or none."""
    if (certificate is None) != (key is None):
        raise typer.BadParameter("give both, the certificate and its key", param_hint="--tls-cert, --tls-key")
    return (certificate, key) if certificate and key else None


def set_up_log() -> None:
    """As the environment says."""
    from pyworker import logs
    from pyworker.settings import LogSettings, environment

    logs.set_up(LogSettings.from_env(environment()))


def announce(running: RunningEngine, given_key: str | None, next_steps: Sequence[str], *, as_json: bool) -> None:
    """Say where the engine is, once it listens."""
    names = [endpoint.name for endpoint in running.engine.registry.endpoints]
    shown: dict[str, Any] = {"url": running.url, "api_key": running.new_key, "endpoints": names}
    if as_json:
        typer.echo(json.dumps(shown))
        return
    key = running.new_key
    typer.echo(f"engine     {running.url}")
    typer.echo(f"endpoints  {', '.join(names)}")
    as_before = "as given" if given_key else "as made before; with PYWORKER_API_KEY another one opens it, too"
    typer.echo(f"api key    {key}   (shown only now)" if key else f"api key    {as_before}")
    typer.echo("\nNext, in another terminal:")
    typer.echo(f"  export PYWORKER_ENGINE={running.url} PYWORKER_API_KEY={key or '...'}")
    for step in next_steps:
        typer.echo(f"  {step}")
    typer.echo("")


def say_ending(running: RunningEngine) -> None:
    """That it was heard, and what still takes time; on stderr, where the log is."""
    workers = [worker for worker in running.engine.registry.all_workers if worker.runs_here]
    count = f"{len(workers)} worker{'' if len(workers) == 1 else 's'}"
    _say_last(f"\nending: {count} finish what they have first" if workers else "\nending")


def say_ended(folder: Path) -> None:
    """The last word."""
    _say_last(f"ended, and so have the workers that it started; what it knows is kept in {folder}")


def _say_last(text: str) -> None:
    with contextlib.suppress(OSError):  # whoever read it may be gone, which must not keep workers from ending
        typer.echo(text, err=True)


def _network(text: str, option: str) -> Network:
    from ipaddress import ip_network

    try:
        return ip_network(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; a network is written 10.0.0.0/8", param_hint=option) from None
