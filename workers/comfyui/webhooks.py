"""Tells an address of the client's what became of a request: once, in the background, signed if there is a secret."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import hmac
import json
import logging
from collections.abc import Collection, Mapping
from typing import Any, Final

import aiohttp

from lib.data_types import JsonDataException
from pyworker.fields import read_fields
from workers.comfyui.storage import require_allowed

__all__ = ["Webhook", "Webhooks", "signature"]

log = logging.getLogger("pyworker.handler")

MOST_AT_ONCE: Final = 100
LONGEST_S: Final = 60.0


@dataclasses.dataclass(frozen=True)
class Webhook:
    """Where to post, what besides, and the secret it is signed with; ``timeout`` in s."""

    url: str
    extra_params: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    secret: str = dataclasses.field(default="", repr=False)
    timeout: float = 30.0

    @classmethod
    def from_json(cls, given: Mapping[str, Any], allowed_hosts: Collection[str] | None) -> Webhook:
        """As a request or the environment gives it; None allows any host. Raises JsonDataException."""
        webhook = cls(**read_fields(given, cls))
        if allowed_hosts is not None:
            require_allowed("url", webhook.url, allowed_hosts)
        if not 0 < webhook.timeout <= LONGEST_S:
            raise JsonDataException({"timeout": f"must be above 0 and at most {LONGEST_S:g}"})
        return webhook


def signature(secret: str, body: bytes) -> str:
    """The value of ``X-Webhook-Signature``."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Webhooks:
    """What is being posted."""

    def __init__(self) -> None:
        self._posting: set[asyncio.Task[None]] = set()

    def post(self, webhook: Webhook, message: Mapping[str, Any]) -> None:
        """Post it, and nobody waits; what fails is logged. Above a hundred at once, it is dropped."""
        if len(self._posting) >= MOST_AT_ONCE:
            log.warning("a webhook is not called: %d others have not been answered yet", len(self._posting))
            return
        body = json.dumps({**message, "extra": webhook.extra_params}).encode()
        task = asyncio.create_task(_post(webhook, body))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)


async def _post(webhook: Webhook, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    if webhook.secret:
        headers["X-Webhook-Signature"] = signature(webhook.secret, body)
    timeout = aiohttp.ClientTimeout(total=webhook.timeout)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.post(webhook.url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            if response.status >= 300:
                log.warning("a webhook answered %d", response.status)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        log.warning("a webhook could not be called: %s", type(error).__name__)
