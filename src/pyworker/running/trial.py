"""``python -m pyworker.running.trial TARGET``: whether a worker would start; its files as JSON, or what is wrong."""

from __future__ import annotations

import json
import sys

from pyworker.errors import PyWorkerError
from pyworker.loading import load

__all__ = ["main"]


def main(target: str) -> int:
    """Load it and say, as the last line of standard output, what it is made of: the exit status."""
    try:
        loaded = load(target)
    except PyWorkerError as error:
        sys.stdout.write(f"\n{error}\n")
        return 1
    sys.stdout.write("\n" + json.dumps([str(file) for file in loaded.files]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
