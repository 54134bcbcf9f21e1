"""The service as a newcomer meets it: start, memory, and the time of an answer, over HTTP on loopback."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx

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
READY_TIMEOUT_S = 60.0


def measure() -> Mapping[str, object]:
    """Seconds to ready (first start and second), resident MB of all processes, ms of ten answers."""
    with tempfile.TemporaryDirectory() as home:
        with _service(Path(home)) as (client, process, first_start_s):
            answers = [client.post("/v1/collections/guide/answer", json={"question": q}) for q in QUESTIONS]
            searches = [client.post("/v1/collections/guide/search", json={"query": q}) for q in QUESTIONS]
            resident = sum(_resident_mb(pid) for pid in (process.pid, *_children(process.pid)))
            for response in (*answers, *searches):
                response.raise_for_status()
        with _service(Path(home)) as (_, _, second_start_s):
            pass
    return {
        "first_start_s": round(first_start_s, 2),
        "second_start_s": round(second_start_s, 2),
        "resident_mb": round(resident),
        "installed_mb": round(_installed_mb()),
        "answer_ms_p50": round(1000 * median(answer.elapsed.total_seconds() for answer in answers), 1),
        "search_ms_p50": round(1000 * median(search.elapsed.total_seconds() for search in searches), 1),
        "answered": sum(answer.json()["status"] == "answered" for answer in answers),
    }


@contextmanager
def _service(home: Path) -> Iterator[tuple[httpx.Client, "subprocess.Popen[bytes]", float]]:
    """A service on a free port with its guide: a client, the process, and the seconds until it was ready."""
    port = _free_port()
    environment = {**os.environ, "FOOTNOTE_HOME": str(home), "FOOTNOTE_PORT": str(port)}
    command = [sys.executable, "-m", "app", "serve"]
    started = time.perf_counter()
    with (
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        try:
            _wait_until_ready(client)
            yield client, process, time.perf_counter() - started
        finally:
            process.terminate()


def _wait_until_ready(client: httpx.Client) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            if client.get("/health/ready").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise TimeoutError(f"the service was not ready after {READY_TIMEOUT_S} s")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def _children(pid: int) -> list[int]:
    found = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in _read_children(task)]
    return [*found, *(later for child in found for later in _children(child))]


def _read_children(task: Path) -> list[str]:
    return (task / "children").read_text(encoding="ascii").split()


def _installed_mb() -> float:
    """Size of the environment that this runs in; for the figure of `make setup`, run it in such a one."""
    return sum(path.stat().st_size for path in Path(sys.prefix).rglob("*") if path.is_file()) / 2**20
