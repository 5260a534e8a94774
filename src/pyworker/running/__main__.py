"""``python -m pyworker.running PLAN``: watches over what the plan says, tied to whoever holds its standard input."""

from __future__ import annotations

import os
import sys

from pyworker.instance import processes
from pyworker.instance.wakeup import Wakeup
from pyworker.running.plan import Plan
from pyworker.running.watcher import Watcher

if __name__ == "__main__":
    wakeup = Wakeup(tied=True)
    processes.adopt_orphans()
    sys.exit(Watcher(Plan.from_json(sys.argv[1]), os.environ, wakeup).run())
