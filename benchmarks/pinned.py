"""``python pinned.py CORE COMMAND...`` becomes COMMAND on that core, and ends when its parent does.

The launcher of everything the benchmark starts: whatever happens to the harness, nothing stays behind.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Pin this process, tie it to its parent, and replace it by the command."""
    core, *command = arguments
    os.sched_setaffinity(0, {int(core)})
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.execvp(command[0], command)  # noqa: S606 (a command of the harness, never a shell's)


if __name__ == "__main__":
    main(sys.argv[1:])
