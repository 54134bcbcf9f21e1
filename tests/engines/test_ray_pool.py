"""Actors on two nodes: what they hold, what they raise, and what the loss of a node costs."""

from collections import Counter
from pathlib import Path

import pytest

from embeddings.distributed.connection import connected
from embeddings.errors import Conflict, InvalidInput, ModelDamaged
from tests.engines.ray_cluster import Nodes, wait_until
from tests.engines.ray_work import hold, hold_nothing, note, refuse

ACTORS = 5  # more than one node has processors


def begun(folder: Path) -> Counter[int]:
    return Counter(int(path.name.partition("-")[0]) for path in folder.iterdir())


def test_killed_node_costs_only_the_work_that_it_had_begun(nodes: Nodes, tmp_path: Path) -> None:
    with connected(nodes.address):
        from embeddings.distributed.pool import RayPool  # noqa: PLC0415 - where Ray is installed

        pool = RayPool(hold, ACTORS)
        try:
            futures = [pool.submit(note, str(tmp_path), number, 0.5) for number in range(30)]
            wait_until(lambda: sum(future.done() for future in futures) >= 5)
            nodes.kill_second()
            results = [future.result(timeout=240) for future in futures]
        finally:
            pool.close()
            nodes.start_second()
    assert [number for number, _ in results] == list(range(30))
    repeated = [number for number, times in begun(tmp_path).items() if times > 1]
    assert len(repeated) <= 4
    assert max(begun(tmp_path).values()) <= 2


def test_failures_reach_who_asked(nodes: Nodes, tmp_path: Path) -> None:
    with connected(nodes.address):
        from embeddings.distributed.pool import RayPool  # noqa: PLC0415 - where Ray is installed

        pool = RayPool(hold, 1)
        with pytest.raises(InvalidInput, match="no") as refused:
            pool.submit(refuse).result(timeout=240)
        assert refused.value.field == "text"
        assert pool.submit(note, str(tmp_path), 7, 0.0).result(timeout=240)[0] == 7
        pool.close()

        broken = RayPool(hold_nothing, 2)
        with pytest.raises(ModelDamaged, match="broken"):
            broken.submit(note, str(tmp_path), 1, 0.0).result(timeout=240)
        broken.close()
        with pytest.raises(Conflict, match="another Ray cluster"), connected("127.0.0.1:1"):
            pass
