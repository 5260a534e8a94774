"""What is to be done with the files that a workflow makes: handed over in JSON, as they are, or to storage."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

from lib.data_types import JsonDataException
from workers.comfyui.comfy import Comfy
from workers.comfyui.protocol import OutputFile
from workers.comfyui.settings import settings
from workers.comfyui.storage import Bucket, UploadFailed, upload
from workers.comfyui.webhooks import Webhook

__all__ = ["Delivered", "Delivery", "deliver", "read_delivery"]


@dataclasses.dataclass(frozen=True)
class Delivery:
    """``bucket``: where files are stored; None leaves them in the answer. ``with_data``: they are in it anyway."""

    output: str
    is_stream: bool
    bucket: Bucket | None
    webhook: Webhook | None
    with_data: bool


@dataclasses.dataclass(frozen=True)
class Delivered:
    """A file; ``url`` when it was stored, ``upload_error`` when it could not be."""

    file: OutputFile
    content: bytes
    mimetype: str
    url: str = ""
    upload_error: str = ""

    def fields(self, *, with_data: bool) -> dict[str, Any]:
        """For JSON; a file that is nowhere else is in it whatever was asked for, so that none is lost."""
        fields: dict[str, Any] = {"filename": self.file.filename, "node_id": self.file.node_id}
        if self.url:
            fields["url"] = self.url
        if self.upload_error:
            fields["upload_error"] = self.upload_error
        if with_data or not self.url:
            fields |= {"data": base64.b64encode(self.content).decode(), "mimetype": self.mimetype}
        return fields


def read_delivery(
    output: str,
    s3: dict[str, Any] | None,
    webhook: dict[str, Any] | None,
    *,
    stream: bool,
    with_data: bool = False,
) -> Delivery:
    """From a request's fields, and the environment where it has none. Raises JsonDataException."""
    problems: dict[str, Any] = {}
    bucket, hook = None, None
    try:
        bucket = _bucket(s3) if output == "s3" else None
    except JsonDataException as error:
        problems["s3"] = error.message
    try:
        hook = _webhook(webhook)
    except JsonDataException as error:
        problems["webhook"] = error.message
    if problems:
        raise JsonDataException(problems)
    return Delivery(output, stream, bucket, hook, with_data)


def _bucket(given: dict[str, Any] | None) -> Bucket:
    if given:
        return Bucket.from_json(given, settings().allowed_hosts)
    if not settings().s3:
        raise JsonDataException({"bucket_name": "this worker has no storage of its own: say where the images go"})
    return Bucket.from_json(settings().s3, None)


def _webhook(given: dict[str, Any] | None) -> Webhook | None:
    if given:
        return Webhook.from_json(given, settings().allowed_hosts)
    own = settings().webhook
    if not own.get("url"):
        return None
    return Webhook(own["url"], secret=own.get("secret", ""))


async def deliver(comfy: Comfy, file: OutputFile, delivery: Delivery, request_id: str) -> Delivered:
    """Fetch a file and store it, if it is to be stored. Raises ComfyFailed."""
    content, mimetype = await comfy.fetch(file)
    if delivery.bucket is None:
        return Delivered(file, content, mimetype)
    try:
        url = await upload(delivery.bucket, f"{request_id}/{file.filename}", content, mimetype)
    except UploadFailed as error:
        return Delivered(file, content, mimetype, upload_error=str(error))
    return Delivered(file, content, mimetype, url=url)
