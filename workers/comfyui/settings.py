"""What the environment says of this worker, read once."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import Final

from workers.comfyui.templates import TEMPLATES, Template

__all__ = ["BadSettings", "Settings", "read_settings", "settings"]

DEFAULT_URL: Final = "http://127.0.0.1:8188"
S3_NAMES: Final = ("S3_BUCKET_NAME", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY")


class BadSettings(ValueError):
    """A variable has a value that cannot be used; the message names it."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """``allowed_hosts``: where requests may have images and webhooks sent to, besides Amazon's S3."""

    model_url: str
    model_log: str | None
    model: str
    model_file: str
    allowed_hosts: frozenset[str]
    s3: Mapping[str, str] = dataclasses.field(repr=False)
    webhook: Mapping[str, str] = dataclasses.field(repr=False)
    client_prefix: str

    @property
    def template(self) -> Template:
        """The default workflow."""
        return TEMPLATES[self.model]


@functools.cache
def settings() -> Settings:
    """Those of this process. Raises BadSettings."""
    return read_settings(os.environ)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Raises BadSettings."""
    model = environ.get("COMFYUI_MODEL") or "flux"
    if model not in TEMPLATES:
        raise BadSettings(f"COMFYUI_MODEL is {model!r}: expected one of {', '.join(TEMPLATES)}")
    missing = [name for name in S3_NAMES if not environ.get(name)]
    if missing and len(missing) < len(S3_NAMES):
        raise BadSettings(f"{', '.join(missing)} must be set, too: S3 needs {', '.join(S3_NAMES)}")
    hosts = environ.get("COMFYUI_ALLOWED_HOSTS", "").split(",")
    return Settings(
        model_url=environ.get("MODEL_SERVER_URL") or DEFAULT_URL,
        model_log=environ.get("MODEL_LOG"),
        model=model,
        model_file=environ.get("COMFYUI_MODEL_FILE") or TEMPLATES[model].model_file,
        allowed_hosts=frozenset(host.strip().lower() for host in hosts if host.strip()),
        s3={} if missing else _part(environ, "S3_"),
        webhook=_part(environ, "WEBHOOK_"),
        client_prefix=f"pyworker-{environ.get('WORKER_PORT', '')}-",
    )


def _part(environ: Mapping[str, str], prefix: str) -> dict[str, str]:
    """``{"bucket_name": ...}`` from ``S3_BUCKET_NAME`` and its like; what is empty is not given."""
    return {name.removeprefix(prefix).lower(): value for name, value in environ.items()
            if name.startswith(prefix) and value}  # fmt: skip
