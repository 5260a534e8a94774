"""A load test from its arrivals to its result: run, shown while it runs, printed and written in the end."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pyworker.errors import BadRequest, PyWorkerError
from pyworker.load.report import html_report
from pyworker.load.run import Send, Watch, run_load
from pyworker.load.screen import Lines, Screen
from pyworker.load.summary import Summary
from pyworker.load.trace import Arrival

__all__ = ["FAILED", "INTERRUPTED", "Results", "run_trial", "watch"]

FAILED, INTERRUPTED = 1, 130
OK: Final = 0

Sender = Callable[[Summary], AbstractAsyncContextManager[Send]]


@dataclass(frozen=True, slots=True)
class Results:
    """Where a result goes besides the terminal; ``told`` is how the test was run."""

    title: str
    told: Mapping[str, str] = field(default_factory=dict[str, str])
    json_file: Path | None = None
    html_file: Path | None = None

    def check(self) -> None:
        """Before anything is sent. Raises BadRequest for a file that cannot be written."""
        for path in filter(None, (self.json_file, self.html_file)):
            try:
                with path.open("a"):
                    pass
            except OSError as error:
                raise BadRequest(
                    f"the result cannot be written to {path} ({error.strerror}): name another file"
                ) from None

    def write(self, summary: Summary, elapsed_s: float) -> bool:
        """Print it, and write the files; False when one could not be written, which is said."""
        sys.stdout.write(summary.text(elapsed_s) + "\n")
        sys.stdout.flush()
        written = self._write(self.json_file, lambda: json.dumps(self._data(summary, elapsed_s), indent=2) + "\n")
        report = lambda: html_report(self.title, summary, elapsed_s, self.told)  # noqa: E731
        return self._write(self.html_file, report) and written

    def _data(self, summary: Summary, elapsed_s: float) -> dict[str, Any]:
        return {"title": self.title, "run": dict(self.told), **summary.data(elapsed_s)}

    def _write(self, path: Path | None, text: Callable[[], str]) -> bool:
        if path is None:
            return True
        try:
            path.write_text(text())
        except OSError as error:
            sys.stderr.write(f"the result could not be written to {path} ({error.strerror}); it stands above\n")
            return False
        sys.stderr.write(f"written to {path}\n")
        return True


def watch(title: str, planned: int | None) -> Watch:
    """What shows a test: a screen on a terminal."""
    return Screen(title, planned) if sys.stderr.isatty() else Lines(sys.stderr)


def run_trial(sender: Sender, arrivals: Iterable[Arrival], summary: Summary, results: Results, show: Watch) -> int:
    """Run it; Ctrl-C ends it early, and what there was is the result.

    Returns the exit status: 0 when every request was answered with 2xx, 1 when not, 130 after Ctrl-C.
    """
    begin_s = time.monotonic()
    status = OK
    try:
        results.check()
        asyncio.run(_run(sender, arrivals, summary, show))
    except KeyboardInterrupt:
        status = INTERRUPTED
    except PyWorkerError as error:
        sys.stderr.write(f"error: {error}\n")
        return FAILED
    written = results.write(summary, time.monotonic() - begin_s)
    return status or (OK if summary.all_ok and written else FAILED)


async def _run(sender: Sender, arrivals: Iterable[Arrival], summary: Summary, show: Watch) -> None:
    async with sender(summary) as send:
        await run_load(send, arrivals, summary, show)
