"""Servers under test, each on a free port of loopback with its output in a log."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.http_client import Address

READY_TIMEOUT_S = 120.0


class ServerFailed(Exception):
    """A server that did not become ready, with the end of its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. ready_s: seconds from its start until it was ready."""

    host: str
    port: int
    pid: int
    ready_s: float

    def route(self, path: str) -> Address:
        return Address(self.host, self.port, path)

    def children(self) -> list[int]:
        """The processes that it has started."""
        return _children(self.pid)

    def resident_mb(self) -> float:
        """Resident memory of its processes now."""
        return sum(status_mb(pid, "VmRSS") for pid in (self.pid, *self.children()))

    def peak_mb(self) -> float:
        """The most resident memory that its processes have had."""
        return sum(status_mb(pid, "VmHWM") for pid in (self.pid, *self.children()))


@contextmanager
def footnote_server(home: Path, *options: str, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """`footnote serve` with its data in `home`. settings: more variables."""
    port = free_port()
    variables = {"FOOTNOTE_HOME": str(home), "FOOTNOTE_PORT": str(port), **(settings or {})}
    command = [sys.executable, "-m", "app", "serve", *options]
    with _running(command, port, "/health/ready", variables, home / "server.log") as server:
        yield server


@contextmanager
def infinity_server(python: Path, model: Path, log: Path, threads: int) -> Iterator[Server]:
    """infinity with its ONNX engine on a folder with one graph, from that folder (see its adapter)."""
    port = free_port()
    command = [
        *(str(python.with_name("infinity_emb")), "v2", "--model-id", ".", "--engine", "optimum"),
        *("--device", "cpu", "--batch-size", "32", "--no-bettertransformer", "--onnx-disable-optimize"),
        *("--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"),
    ]
    variables = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": str(threads)}
    with _running(command, port, "/health", variables, log, cwd=model) as server:
        yield server


@contextmanager
def _running(
    command: Sequence[str],
    port: int,
    health: str,
    variables: Mapping[str, str],
    log: Path,
    cwd: Path | None = None,
) -> Iterator[Server]:
    started = time.perf_counter()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **variables}, stdout=output, stderr=output, cwd=cwd
        )
    try:
        _wait_until_ready(process, port, health, log)
        yield Server("127.0.0.1", port, process.pid, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int, health: str, log: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if _answers(port, health):
            return
        time.sleep(0.02)
    raise ServerFailed(f"no answer on {health}: {log.read_text(encoding='utf-8', errors='replace')[-1500:]}")


def _answers(port: int, path: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
            connection.sendall(request.encode("ascii"))
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def status_mb(pid: int, field: str) -> float:
    """A figure of /proc/PID/status, in MiB: VmRSS, VmHWM; 0 for a process that has just ended."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next((line for line in status.splitlines() if line.startswith(field)), "- 0 kB")
    return int(line.split()[1]) / 1024


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    found = [int(child) for task in tasks for child in (task / "children").read_text("ascii").split()]
    return [*found, *(later for child in found for later in _children(child))]
