"""``python -m pyworker.running.trial TARGET FILE``: whether a worker would start, and what it is made of.

It goes to a file: what a worker prints, it may print until the very end of its process.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path

from pyworker.errors import PyWorkerError
from pyworker.loading import load

__all__ = ["main"]


def main(target: str, result: str) -> int:
    """Load it; ``result`` gets ``{"files": [...], "problem": "..."}``. The exit status."""
    try:
        files, problem = [str(file) for file in load(target).files], ""
    except PyWorkerError as error:
        files, problem = _files_on_the_way(error.__cause__), str(error)
    Path(result).write_text(json.dumps({"files": files, "problem": problem}), encoding="utf-8")
    return int(bool(problem))


def _files_on_the_way(error: BaseException | None) -> list[str]:
    """Those whose change may mend it."""
    if error is None:
        return []
    files = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
    if isinstance(error, SyntaxError) and error.filename:
        files.add(error.filename)
    return sorted(file for file in files if Path(file).is_file())


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
