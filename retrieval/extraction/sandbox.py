"""Parsing in a child process that can be killed.

The parsers of PDF, HTML and Office files are native code that runs in-process: a hang can't be interrupted
there, and a crash or a memory bomb would take the service with it. kreuzberg's own
`extraction_timeout_secs` bounds neither crash nor memory. So these formats go through a worker process with
a time and a memory limit. It starts at the first such file (0.2 s), is kept for the next ones, and ends
after a minute of rest, so the service itself never loads the parsers.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from embeddings.errors import FootnoteError, TooLarge, Unreadable, UnsupportedFormat
from retrieval.extraction.formats import FileKind
from retrieval.extraction.reading import Reading
from retrieval.extraction.worker import read_frame, write_frame
from retrieval.types import Heading, PageSpan

DEFAULT_TIMEOUT_S = 120.0
MAX_WORKERS = 2
_COMMAND = (sys.executable, "-m", "retrieval.extraction.worker")
_FILES_PER_WORKER = 200  # then a fresh one: native heaps grow
_ERRORS: dict[str, type[FootnoteError]] = {
    error.code: error for error in (Unreadable, UnsupportedFormat, TooLarge)
}


class _Worker:
    """One child process. Used by one thread at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
        }
        self._process = subprocess.Popen(  # noqa: S603  # our own module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the service, which may finish its file
            env=environment,
        )
        self._requests = cast("BinaryIO", self._process.stdin)
        self._replies = cast("BinaryIO", self._process.stdout)
        self.files = 0
        self.timed_out = False

    def ask(self, request: bytes, timeout_s: float) -> bytes | None:
        """Send one request; None when the worker died or was killed at the time limit (see `timed_out`)."""
        self.files += 1
        self.timed_out = False
        killer = threading.Timer(timeout_s, self._kill_late)
        killer.daemon = True
        killer.start()
        try:
            write_frame(self._requests, request)
            return read_frame(self._replies)
        except BrokenPipeError:
            return None
        finally:
            killer.cancel()

    def is_running(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """End the process and reap it."""
        self._process.kill()
        self._process.communicate()

    def _kill_late(self) -> None:
        self.timed_out = True
        self._process.kill()


class Sandbox:
    """Up to `max_workers` worker processes, started when needed. Thread-safe."""

    def __init__(self, max_workers: int = MAX_WORKERS, command: Sequence[str] = _COMMAND) -> None:
        """command: what starts a worker that speaks the frames of `retrieval.extraction.worker`."""
        self._command = command
        self._slots = threading.BoundedSemaphore(max_workers)
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()

    def read(self, kind: FileKind, data: bytes, timeout_s: float = DEFAULT_TIMEOUT_S) -> Reading:
        """Parse one file. timeout_s: seconds from when a worker is free.

        Raises what the parser raises, and Unreadable when it crashes or exceeds the time or memory limit.
        """
        header = json.dumps({"kind": kind.value, "timeout_s": timeout_s + 5}).encode()
        with self._worker() as worker:
            frame = worker.ask(header + b"\n" + data, timeout_s)
            timed_out = worker.timed_out
        if frame is None:
            crashed = _failed(kind, "the parser crashed or ran out of memory")
            raise _gave_up(kind, timeout_s) if timed_out else crashed
        return _reading(kind, json.loads(frame))

    def close(self) -> None:
        """End the idle workers."""
        with self._lock:
            workers, self._idle = self._idle, []
        for worker in workers:
            worker.close()

    @contextmanager
    def _worker(self) -> Iterator[_Worker]:
        with self._slots:
            worker = self._take()
            try:
                yield worker
            finally:
                self._give_back(worker)

    def _take(self) -> _Worker:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.is_running():
                    return worker
                worker.close()
        return _Worker(self._command)

    def _give_back(self, worker: _Worker) -> None:
        if worker.is_running() and worker.files < _FILES_PER_WORKER and not worker.timed_out:
            with self._lock:
                self._idle.append(worker)
        else:
            worker.close()


def _reading(kind: FileKind, reply: dict[str, Any]) -> Reading:
    if failure := reply.get("failure"):
        raise _failed(kind, failure)
    if error := reply.get("error"):
        raise _ERRORS.get(error.pop("code"), Unreadable)(error.pop("message"), **error)
    fields = reply["reading"]
    headings = fields["headings"]
    return Reading(
        fields["text"],
        fields["title"],
        tuple(PageSpan(**page) for page in fields["pages"]),
        None if headings is None else tuple(Heading(**heading) for heading in headings),
    )


def _gave_up(kind: FileKind, timeout_s: float) -> Unreadable:
    return Unreadable(
        f"reading the {kind.name} file took longer than {timeout_s:g} s and was stopped",
        found="a file that keeps the parser busy",
        expected=f"a file that is read within {timeout_s:g} s",
        next_step="split it, or save it again with its program",
    )


def _failed(kind: FileKind, reason: str) -> Unreadable:
    return Unreadable(
        f"the {kind.name} file can't be read: {reason}",
        found=reason,
        expected=f"a whole {kind.name} file",
        next_step="open it in its program, save it again and add that",
    )
