"""A Ray cluster of this machine alone: two logical nodes of four logical processors, on loopback."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PROCESSORS = 4
STORE_BYTES = 96 * 1024 * 1024
# Read at Ray's import. The first two let nodes and torch's processes meet on loopback alone; without the last
# two a node starts a process for each of its processors before anybody asks for one.
os.environ |= {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "GLOO_SOCKET_IFNAME": "lo",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
}


class Nodes:
    """The cluster. address: of its head; the second node can be killed and started again."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster  # noqa: PLC0415 - the environment first

        head = {**_node_settings(), "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._second: Any = None
        self.address = str(self._cluster.address)

    def start_second(self) -> None:
        """Have two nodes; nothing when there are two."""
        if self._second is None:
            self._second = self._cluster.add_node(**_node_settings())

    def kill_second(self) -> None:
        """Kill every process of the second node at once, as a loss of power would."""
        for processes in self._second.all_processes.values():
            for each in processes:
                each.process.kill()
        self._cluster.remove_node(self._second, allow_graceful=False)
        self._second = None

    def close(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()


@contextmanager
def ray_nodes() -> Iterator[Nodes]:
    """Start the head; a second node is started when it is asked for."""
    nodes = Nodes()
    try:
        yield nodes
    finally:
        nodes.close()


def wait_until(condition: Any, seconds: float = 120.0) -> None:
    """Wait for a condition that becomes true soon on a quiet machine."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def _node_settings() -> dict[str, Any]:
    return {"num_cpus": PROCESSORS, "object_store_memory": STORE_BYTES}
