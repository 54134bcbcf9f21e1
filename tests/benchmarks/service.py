"""The service as a newcomer meets it: start, memory, and the time of an answer, over HTTP on loopback."""

import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import httpx

from tests.benchmarks.servers import footnote_server

QUESTIONS = (
    "What is the default port?",
    "How many tokens does a chunk hold at most?",
    "Which filter operators are there?",
    "Where is the data kept?",
    "What does not_found mean?",
    "How do I make an API key?",
    "Which formats can be ingested?",
    "What is a collection?",
    "How many layers does the bundled encoder have?",
    "How is the bundled decoder trained?",
)


def add_arguments(parser: ArgumentParser) -> None:
    """It takes none."""


def measure(arguments: Namespace) -> Mapping[str, object]:
    """Seconds to ready (first start and second), resident MB of all processes, ms of ten answers."""
    with tempfile.TemporaryDirectory() as home:
        with footnote_server(Path(home)) as server, _client(server.port) as client:
            answers = [client.post("/v1/collections/guide/answer", json={"question": q}) for q in QUESTIONS]
            searches = [client.post("/v1/collections/guide/search", json={"query": q}) for q in QUESTIONS]
            resident = server.resident_mb()
            for response in (*answers, *searches):
                response.raise_for_status()
        with footnote_server(Path(home)) as again:
            pass
    return {
        "first_start_s": round(server.ready_s, 2),
        "second_start_s": round(again.ready_s, 2),
        "resident_mb": round(resident),
        "installed_mb": round(_installed_mb()),
        "answer_ms_p50": round(1000 * median(answer.elapsed.total_seconds() for answer in answers), 1),
        "search_ms_p50": round(1000 * median(search.elapsed.total_seconds() for search in searches), 1),
        "answered": sum(answer.json()["status"] == "answered" for answer in answers),
    }


def _client(port: int) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)


def _installed_mb() -> float:
    """Size of the environment that this runs in; for the figure of `make setup`, run it in such a one."""
    return sum(path.stat().st_size for path in Path(sys.prefix).rglob("*") if path.is_file()) / 2**20
