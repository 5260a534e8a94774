"""Writes to a store for as long as it is let, and says after each write what is stored: to be killed meanwhile."""

from __future__ import annotations

import sys

from msgspec.structs import replace

from pyworker.engine.store.store import Store
from tests.support.stores import endpoint_row, group_row, worker_row


def main(path: str) -> None:
    """Say ``numbers FIRST END``, ``worker ID VERSION`` and ``gone ID``, one a line."""
    store, clock_us = Store.open(path), 10_000_000
    while True:
        clock_us -= 1000  # a clock that goes back
        block = store.reserve("request_idx", 7, at_least=clock_us)
        say("numbers", block.start, block.stop)
        endpoint = store.add_endpoint(endpoint_row(f"endpoint {block.start}"))
        group = store.add_workergroup(group_row(endpoint))
        worker = store.add_worker(worker_row(group, str(block.start)))
        say("worker", worker.id, 1)
        store.save_worker(replace(worker, version=2))
        say("worker", worker.id, 2)
        if block.start % 2:
            store.remove_worker(worker.id)
            say("gone", worker.id)


def say(*words: object) -> None:
    """One line, at once."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
