"""The root certificate of workers' certificates, as older ``client.py`` files ask for it."""

from __future__ import annotations

import atexit
import functools
import ssl
import tempfile
from pathlib import Path

from pyworker.client.failures import not_an_engine
from pyworker.client.instances import instance_of
from pyworker.client.management import fetch

__all__ = ["get_cert_file_path"]


@functools.cache
def get_cert_file_path(instance: str = "prod") -> str:
    """A file with the root certificate of an instance: fetched once a process, removed at its end.

    Raises EngineUnreachable, EngineRefused.
    """
    url = f"{instance_of(instance).web_url}/static/jvastai_root.cer"
    pem = fetch(url).decode(errors="replace")
    try:
        ssl.PEM_cert_to_DER_cert(pem.strip())
    except ValueError as error:
        raise not_an_engine(url, error) from None
    with tempfile.NamedTemporaryFile("w", prefix="root-", suffix=".cer", delete=False) as file:
        file.write(pem)
    path = Path(file.name)
    atexit.register(path.unlink, missing_ok=True)
    return str(path)
