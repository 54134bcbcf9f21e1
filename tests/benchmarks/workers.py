"""The benchmark's side of a worker: a process that holds one loaded encoder."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.benchmarks.environments import PEERS


class WorkerFailed(Exception):
    """What a worker answered instead of a figure, with the end of its log."""


class Worker:
    """Asks one worker; a context manager that ends it. log: file for its standard error."""

    def __init__(self, command: Sequence[str], log: Path, threads: int) -> None:
        self._log = log
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("wb"),
            env=worker_environment(threads),
            text=True,
        )

    @classmethod
    def of(cls, python: Path, adapter: str, log: Path, threads: int) -> Self:
        """A worker that runs the adapter of a peer with its interpreter."""
        return cls([str(python), str(PEERS / "worker.py"), adapter], log, threads)

    def ask(self, command: str, **arguments: object) -> dict[str, Any]:
        """Send a command and wait for its answer. Raises WorkerFailed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._failed(command, "the worker has ended") from error
        line = self._process.stdout.readline()
        if not line:
            raise self._failed(command, "the worker ended without an answer")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise self._failed(command, answer["error"])
        return answer

    def _failed(self, command: str, reason: str) -> WorkerFailed:
        log = self._log.read_text(encoding="utf-8", errors="replace")
        return WorkerFailed(f"{command}: {reason}\n{log[-1500:]}".strip())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()


def worker_environment(threads: int) -> dict[str, str]:
    """This process's variables, with all threads for each library, no hub and no reports to vendors."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "true",
        "LANCEDB_LOG": "error",
    }
