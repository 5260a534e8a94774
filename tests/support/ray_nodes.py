"""Three nodes of Ray on this machine: a head that takes no work, and two of which the second can be lost."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

# a node is dead when it has been silent for about a second; Ray's own settings take ten times as long
SOON = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 300,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}
STORE_BYTES = 80 * 1024 * 1024


class Nodes:
    """The cluster, and how one of its nodes is lost."""

    def __init__(self, cluster: Any, second: Any) -> None:
        self.address: str = cluster.address
        self._cluster = cluster
        self._second = second

    def lose_the_second(self) -> None:
        """Kill it."""
        self._cluster.remove_node(self._second, allow_graceful=False)


@contextmanager
def three_nodes() -> Generator[Nodes]:
    """A cluster for as long as this is entered."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - slow

    # not under pytest's own folder: Ray's sockets would have too long a path
    with (
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as around,
    ):
        around.setenv("RAY_TMPDIR", folder)
        head = {"num_cpus": 0, "_system_config": SOON, "include_dashboard": False, "object_store_memory": STORE_BYTES}
        cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        try:
            cluster.add_node(num_cpus=2, resources={"first": 1}, object_store_memory=STORE_BYTES)
            second = cluster.add_node(num_cpus=2, resources={"second": 1}, object_store_memory=STORE_BYTES)
            yield Nodes(cluster, second)
        finally:
            cluster.shutdown()
