"""The process that a dry run is done in: ``python -m pyworker.checking FD TARGET OPTIONS``."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback

import msgspec

from pyworker.checking.dry_run import DryRun
from pyworker.checking.findings import fault, raised, redacted
from pyworker.checking.telling import Telling
from pyworker.checking.trials import Wanted
from pyworker.errors import ConfigurationError
from pyworker.loading import find
from pyworker.settings import environment
from pyworker.wire_check import CheckLine, Finding


def main(out_fd: int, target: str, wanted: Wanted) -> None:
    """Tell every line to ``out_fd``, which nothing that the worker starts gets to see."""
    os.set_inheritable(out_fd, False)
    told: set[bytes] = set()

    def tell(line: CheckLine) -> None:
        if line.finding is not None:
            line.finding = redacted(line.finding, environment())
        text = msgspec.json.encode(line) + b"\n"
        if text not in told:
            told.add(text)
            os.write(out_fd, text)

    try:
        found = find(target)
    except ConfigurationError as error:
        tell(CheckLine(not_understood=str(error)))
        return
    run = DryRun(found, wanted, Telling(tell))
    try:
        loaded = run.load()
        if loaded is not None:
            asyncio.run(run.look(*loaded))
    except Exception as error:  # noqa: BLE001 - the user must hear of it, whatever it is
        tell(CheckLine(finding=_own_failure(error)))
    tell(CheckLine(ended=True))


def _own_failure(error: Exception) -> Finding:
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{last.filename}:{last.lineno}"
    return fault(
        "dry-run", place, f"the dry run itself failed: {raised(error)}", "tell pyworker's authors of this line"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], msgspec.json.decode(sys.argv[3], type=Wanted))
    os._exit(0)  # whatever threads the worker started
