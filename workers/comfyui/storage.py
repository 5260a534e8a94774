"""Images to S3-compatible storage, with boto3 (the extra ``s3``), which is imported when it is used."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import importlib
import importlib.util
import re
from collections.abc import Collection, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from lib.data_types import JsonDataException
from pyworker.fields import read_fields

__all__ = ["Bucket", "UploadFailed", "require_allowed", "upload"]

URL_LIFE_S: Final = 24 * 3600
CONNECT_S, READ_S, ATTEMPTS = 10, 60, 3
_REGION: Final = re.compile(r"[a-z0-9-]{1,32}")


class UploadFailed(Exception):
    """An image could not be stored; the message is the storage's own."""


@dataclasses.dataclass(frozen=True)
class Bucket:
    """Where images go. Without ``endpoint_url`` it is Amazon's S3."""

    bucket_name: str
    access_key_id: str = dataclasses.field(repr=False)
    secret_access_key: str = dataclasses.field(repr=False)
    endpoint_url: str | None = None
    region: str | None = None

    @classmethod
    def from_json(cls, given: Mapping[str, Any], allowed_hosts: Collection[str] | None) -> Bucket:
        """As a request or the environment gives it; None allows any host. Raises JsonDataException."""
        bucket = cls(**read_fields(given, cls))
        if importlib.util.find_spec("boto3") is None:
            raise JsonDataException({"bucket_name": "this worker cannot upload: install pyworker[s3] there"})
        if bucket.region and not _REGION.fullmatch(bucket.region):
            raise JsonDataException({"region": "expected a region like us-east-1"})
        if bucket.endpoint_url and allowed_hosts is not None:
            require_allowed("endpoint_url", bucket.endpoint_url, allowed_hosts)
        return bucket


def require_allowed(field: str, url: str, allowed_hosts: Collection[str]) -> None:
    """That a client may have this worker call an address. Raises JsonDataException."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise JsonDataException({field: "expected an address like https://storage.example.com"})
    if parts.hostname.lower() not in allowed_hosts:
        raise JsonDataException({field: "this host is not allowed; the worker's COMFYUI_ALLOWED_HOSTS must name it"})


async def upload(bucket: Bucket, key: str, content: bytes, mimetype: str) -> str:
    """Store a file and give an address that shows it for a day. Raises UploadFailed."""
    return await asyncio.to_thread(_upload, bucket, key, content, mimetype)


def _upload(bucket: Bucket, key: str, content: bytes, mimetype: str) -> str:
    exceptions: Any = importlib.import_module("botocore.exceptions")
    place = {"Bucket": bucket.bucket_name, "Key": key}
    try:
        client = _client(bucket)
        client.put_object(**place, Body=content, ContentType=mimetype)
        return str(client.generate_presigned_url("get_object", Params=place, ExpiresIn=URL_LIFE_S))
    except (exceptions.BotoCoreError, exceptions.ClientError, ValueError) as error:
        raise UploadFailed(str(error)) from None


@functools.lru_cache(maxsize=16)
def _client(bucket: Bucket) -> Any:
    boto3: Any = importlib.import_module("boto3")
    config: Any = importlib.import_module("botocore.config")
    session = boto3.session.Session(
        aws_access_key_id=bucket.access_key_id,
        aws_secret_access_key=bucket.secret_access_key,
        region_name=bucket.region or "us-east-1",
    )
    return session.client(
        "s3",
        endpoint_url=bucket.endpoint_url,
        config=config.Config(
            signature_version="s3v4", connect_timeout=CONNECT_S, read_timeout=READ_S, retries={"max_attempts": ATTEMPTS}
        ),
    )
