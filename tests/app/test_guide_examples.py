"""The examples of the guide that talk to the service are sent to one, as a reader would send them.

The page on clients has tests of its own (tests/clients), because its examples need other packages.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.app.documentation import GUIDE, ROOT
from tests.benchmarks.api_fuzz import make_key
from tests.benchmarks.servers import footnote_server
from tests.clients.blocks import Block, code_blocks
from tests.retrieval.documents import make_docx, make_pdf

NOT_SENT = {
    "ask.md: Conversations 1": "needs a decoder that chats",
    "chat.md: Chat with a decoder 1": "needs a decoder that chats",
    "classify.md: A classifier of your own 1": "needs a classifier that was trained",
    "rerank.md: For other servers' clients 1": "needs a reranker",
}
OTHER_PAGES = {"clients.md", "deploy.md", "scale.md"}
PACKAGES = ("from openai import", "from huggingface_hub import")
# What blocks of a page take as given; the blocks before them on the same page come on top.
GIVEN = 'texts = ["Plant tomatoes in May."]\n'
CURL = 'set -e; curl() { command curl --fail-with-body -sS "$@"; echo; }\n'


def examples(page: Path) -> Iterator[Block]:
    for block in code_blocks(page):
        if "curl " in block.code or "client." in block.code or block.code.startswith(PACKAGES):
            yield block


PAGES = [page for page in sorted(GUIDE.glob("*.md")) if page.name not in OTHER_PAGES]
BLOCKS = [block for page in PAGES for block in examples(page)]
SHELL = [block for block in BLOCKS if "curl " in block.code and str(block) not in NOT_SENT]
PYTHON = [block for block in BLOCKS if "curl " not in block.code and str(block) not in NOT_SENT]


class Service:
    """A service with the guide and a collection `notes`. folder: where the files of the examples are."""

    def __init__(self, port: int, key: str, folder: Path) -> None:
        self.port, self.key, self.folder = port, key, folder

    def run(self, command: list[str], code: str) -> str:
        """Run code whose service is this one; return what it printed. Fails when the code does."""
        sent = code.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}").replace("export KEY=fn_...", "")
        environ = os.environ | {"KEY": self.key, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [*command, sent], env=environ, cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def shell(self, code: str) -> str:
        """Run commands, those after a `$` without the output that is shown below them."""
        typed = [line[2:] for line in code.splitlines() if line.startswith("$ ")]
        return self.run(["bash", "-c"], CURL + ("\n".join(typed) or code))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    folder = tmp_path_factory.mktemp("folder")
    (folder / "report.pdf").write_bytes(make_pdf([["Tomatoes were planted in May."]]))
    (folder / "minutes.docx").write_bytes(make_docx([("Normal", "Peas were sown in April.")]))
    home = tmp_path_factory.mktemp("home")
    with footnote_server(home, settings={"FOOTNOTE_WORKERS": "0"}) as server:
        running = Service(server.port, make_key(home), folder)
        _fill(running)
        yield running


def _fill(service: Service) -> None:
    """The collection `notes`, made by the quickstart's own example, and the document of later examples."""
    for block in code_blocks(GUIDE / "quickstart.md"):
        if block.heading == "Over HTTP":
            service.shell(block.code)
    note = {
        "id": "tomatoes.md",
        "text": "# Tomatoes\n\nPlant tomatoes in May, when no more frost is to come.\n",
    }
    url = f"http://127.0.0.1:{service.port}/v1/collections/notes/documents"
    header = {"Authorization": f"Bearer {service.key}"}
    assert httpx.post(url, json={"documents": [note]}, headers=header).json()["errors"] is False


def test_every_exception_is_an_example_of_the_guide() -> None:
    assert set(NOT_SENT) <= set(map(str, BLOCKS))


@pytest.mark.parametrize("block", [block for block in SHELL if block.heading != "Over HTTP"], ids=str)
def test_request_of_the_guide_is_answered(block: Block, service: Service) -> None:
    assert service.shell(block.code).strip()


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_program_of_the_guide_runs(block: Block, service: Service) -> None:
    before = [other.code for other in PYTHON if other.page == block.page]
    service.run([sys.executable, "-c"], GIVEN + "\n".join(before[: before.index(block.code) + 1]))


def test_first_question_of_the_quickstart_is_answered_as_it_says(service: Service) -> None:
    block = next(block for block in SHELL if block.heading == "Ask the first question")
    assert "the default port is 8000" in service.shell(block.code)
