"""The SDK that clients use today, in a Python of its own: $PYWORKER_SDK_PYTHON, or .venv-sdk from `make sdk-venv`."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

# Read when the tests are collected: a running test sees no PYWORKER_ variable of this machine.
SDK_PYTHON = Path(os.environ.get("PYWORKER_SDK_PYTHON") or ROOT / ".venv-sdk" / "bin" / "python")

SDK_WORKER = Path(__file__).with_name("sdk_worker.py")

# The SDK takes a second of CPU to import, and waits for seconds on its own account.
limit_s = pytest.mark.limit_s(90)

needs_sdk = pytest.mark.skipif(
    not SDK_PYTHON.exists(), reason=f"no SDK at {SDK_PYTHON}: run `make sdk-venv` or set PYWORKER_SDK_PYTHON"
)


def sdk_site() -> Path:
    """The folder that the SDK is installed in, for another Python's path."""
    where = "import importlib.util as u; print(u.find_spec('vastai').submodule_search_locations[0])"
    found = subprocess.run([SDK_PYTHON, "-c", where], capture_output=True, text=True, check=True)  # noqa: S603 - the SDK's
    return Path(found.stdout.strip()).parent


async def sdk_calls(engine_url: str, api_key: str, endpoint: str, *calls: dict[str, Any]) -> list[Any]:
    """Let the SDK's client make these calls one after the other; what each gave, or ``{"raised": ...}``.

    A call is ``{"do": "workers"}``, or ``{"do": "request" | "stream" | "session", "route", "payload", "cost"?}``, a
    session being one that is opened, asked twice and closed. ``{"do": "create_group", "group"}`` makes a workergroup;
    ``{"do": "manage", "endpoint", "group", "steps"}`` makes an endpoint with a workergroup, makes the calls ``steps``
    at it, updates the workergroup, deletes both, and gives all that it saw.
    """
    process = await asyncio.create_subprocess_exec(
        str(SDK_PYTHON),
        str(Path(__file__).with_name("sdk_client.py")),
        json.dumps({"engine": engine_url, "api_key": api_key, "endpoint": endpoint, "calls": calls}),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        output = await process.stdout.read()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return json.loads(output)
