"""A Ray cluster for a session of tests: its nodes take a quarter of a minute to start."""

import os
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.engines.ray_cluster import Nodes, ray_nodes


@pytest.fixture(scope="session")
def ray_head() -> Iterator[Nodes]:
    if os.environ.get("FOOTNOTE_ENGINE_TESTS") != "1":
        pytest.skip("Ray is started for FOOTNOTE_ENGINE_TESTS=1 alone: make test-engines")
    if find_spec("ray") is None:
        pytest.skip("the package ray is not installed")
    with ray_nodes() as started:
        yield started


@pytest.fixture
def nodes(ray_head: Nodes) -> Nodes:
    """Two nodes of four logical processors each."""
    ray_head.start_second()
    return ray_head
