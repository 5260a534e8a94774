"""``python -m pyworker.instance FOLDER [--tied]``: the supervisor of the instance in that folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pyworker.instance.supervisor import run
from pyworker.instance.surroundings import inherited

if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), inherited(os.environ), tied="--tied" in sys.argv[2:]))
