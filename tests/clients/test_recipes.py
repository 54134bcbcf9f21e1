"""The examples of the guide's page on clients, run as a reader would run them."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.documentation import GUIDE, ROOT
from tests.benchmarks.servers import Server, footnote_server
from tests.clients.blocks import Block, code_blocks
from tests.clients.environment import installed

BLOCKS = list(code_blocks(GUIDE / "clients.md"))
# What a block has to print, by heading and place: a pattern for each.
PRINTED = {
    "The Python client 1": [r"^answered .*8000", r"^\[1\] operate\.md \d+-\d+: .*8000"],
    "The Python client 2": [r"^peas\.md \S+ .*"],
    "The Python client 3": [r"8000", r"^confidence 0\.\d+"],
    "LangChain 1": [r"^384$", r"8000"],
    "LangChain 2": [r"^operate\.md "],
    "LlamaIndex 1": [r"^384$", r"8000"],
    "LlamaIndex 2": [r"^operate\.md "],
    "Haystack 1": [r"^384$", r"8000"],
    "Haystack 2": [r"^operate\.md "],
}
OWN = "The Python client"  # needs nothing but Footnote's own packages
TIMEOUT_S = 300


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A running service with the guide, and its administrator's key."""
    home = tmp_path_factory.mktemp("home")
    with footnote_server(home) as server:
        made = [sys.executable, "-m", "app", "keys", "create", "--name", "test", "--scope", "admin"]
        environ = os.environ | {"FOOTNOTE_HOME": str(home)}
        printed = subprocess.run(made, env=environ, capture_output=True, text=True, check=True).stdout
        key = re.search(r"fn_\S+", printed)
        assert key is not None
        yield server, key.group()


def test_every_example_says_what_it_has_to_print() -> None:
    assert {f"{block.heading} {block.number}" for block in BLOCKS} == set(PRINTED)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_example_runs(block: Block, service: tuple[Server, str], tmp_path: Path) -> None:
    server, key = service
    python = Path(sys.executable) if block.heading == OWN else installed()
    if python is None:
        pytest.skip("LangChain, LlamaIndex and Haystack are not installed: make test-clients")
    code = block.code.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    variables = {"PYTHONPATH": str(ROOT), "KEY": key, "HAYSTACK_TELEMETRY_ENABLED": "False"}
    done = subprocess.run(
        [python, "-c", code],
        env=os.environ | variables,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for pattern in PRINTED[f"{block.heading} {block.number}"]:
        assert re.search(pattern, done.stdout, re.MULTILINE), done.stdout
