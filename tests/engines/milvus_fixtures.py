"""A Milvus server for the tests that want one: slow, so only with FOOTNOTE_ENGINE_TESTS=1."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.milvus_server import MilvusServer, MilvusUnavailable, milvus_python

LITE, SERVER = "milvus-lite", "milvus"


@pytest.fixture(scope="session")
def milvus_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server for the whole run; FOOTNOTE_MILVUS_URL names one that is there already."""
    skip_unless_thorough()
    if given := os.environ.get("FOOTNOTE_MILVUS_URL"):
        yield given
        return
    with started(tmp_path_factory.mktemp("milvus")) as server:
        yield server.address


@pytest.fixture(params=[LITE, SERVER])
def milvus_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of Milvus Lite, and of a server."""
    skip_unless_thorough()
    if request.param == SERVER:
        return str(request.getfixturevalue("milvus_address"))
    pytest.importorskip("milvus_lite", reason="pip install -r tests/engines/requirements.txt")
    return f"milvus+lite://{tmp_path}/vectors.db"


def skip_unless_thorough() -> None:
    if os.environ.get("FOOTNOTE_ENGINE_TESTS") != "1":
        pytest.skip("FOOTNOTE_ENGINE_TESTS=1 runs it: make test-engines")


def started(folder: Path) -> MilvusServer:
    """A server with its data in a folder, to be entered; the test is skipped where none can run."""
    try:
        return MilvusServer(milvus_python(), folder)
    except MilvusUnavailable as error:
        pytest.skip(f"no Milvus server: {error}")
