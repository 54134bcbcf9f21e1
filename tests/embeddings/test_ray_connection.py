"""What can be told of a cluster's address before Ray is loaded."""

import socket
import subprocess
import sys
import time

import pytest

from embeddings.distributed.connection import check_address, connected
from embeddings.distributed.version import check_version, version_here
from embeddings.errors import Conflict, FootnoteError, InvalidInput


@pytest.mark.parametrize("address", ["local", "10.0.0.5:6379", "ray-head:6379", "[::1]:6379"])
def test_addresses_of_heads_are_taken(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize(
    "address", ["ray://head:10001", "auto", "head", ":6379", "head:port", "head:70000", ""]
)
def test_other_addresses_are_refused_with_an_example(address: str) -> None:
    with pytest.raises(InvalidInput, match="no address") as refused, connected(address):
        pass
    assert "6379" in str(refused.value.expected)


def test_head_that_does_not_answer_is_told_at_once() -> None:
    pytest.importorskip("ray")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(FootnoteError, match="cannot be used"), connected(address):
            pass
    assert time.monotonic() - began < 60


def test_other_version_is_refused() -> None:
    check_version(version_here())
    with pytest.raises(Conflict, match="comes from"):
        check_version("9.9.9")


def test_nothing_of_ray_is_loaded_before_it_is_asked_for() -> None:
    script = "import sys, app.asgi, app.cli.embed, app.cli.reindex, app.jobs.worker, app.bulk.embedding, "
    script += "embeddings.distributed.opening, app.services.completing_on_ray; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=240).returncode == 0
