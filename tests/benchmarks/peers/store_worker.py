"""Serve one store to the benchmark, in that store's own environment: a line of JSON each way.

    python store_worker.py ADAPTER VARIANT

ADAPTER names a module beside this one with a class `Store` as in store_contract.py. Times are taken on this
side of the pipe.
"""

import importlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from store_contract import LIMIT, SEARCHABLE, Corpus, Question, Store
from worker import serve, status_mb

PROJECT = Path(__file__).parents[3]


class Session:
    """A store and what it is filled with and asked. Each public method is a command."""

    def __init__(self, adapter: str, variant: str) -> None:
        started = time.perf_counter()
        self._make: Callable[[Path, int, str], Store] = importlib.import_module(adapter).Store
        self._import_s = time.perf_counter() - started
        self._variant = variant
        self._store: Store | None = None
        self._questions: list[Question] = []

    def fill(self, corpus: str, folder: str, threads: int, size: int) -> Mapping[str, object]:
        """Put the first `size` texts into a new store at `folder`.

        searchable_s: until all are on the disk and found; filled_s: until they are in the state in which
        they are searched from then on; peak_mb: what this took beside the texts and vectors given to it.
        """
        given = Corpus.read(Path(corpus), size)
        shutil.rmtree(folder, ignore_errors=True)
        Path(folder).mkdir(parents=True)
        before_mb, steps = status_mb("VmRSS"), {}
        started = time.perf_counter()
        for step in self._make(Path(folder), threads, self._variant).fill(given):
            _sync(Path(folder))
            steps[step] = time.perf_counter() - started
        _sync(Path(folder))
        filled_s = time.perf_counter() - started
        return {
            "filled_s": filled_s,
            "searchable_s": steps.pop(SEARCHABLE, filled_s),
            "steps": steps,
            "peak_mb": status_mb("VmHWM") - before_mb,
        }

    def open(self, corpus: str, folder: str, threads: int) -> Mapping[str, object]:
        """Open a store that was filled, and read the questions. opening_s: with the first search."""
        self._questions = Question.read(Path(corpus))
        before_mb, started = status_mb("VmRSS"), time.perf_counter()
        self._store = self._make(Path(folder), threads, self._variant)
        self._store.open()
        self._store.dense(self._questions[-1], self._store.efforts[0])
        opening_s = time.perf_counter() - started
        return {
            "opening_s": opening_s,
            "import_s": self._import_s,
            "before_mb": before_mb,
            "disk_bytes": disk_bytes(Path(folder)),
            "efforts": self._store.efforts,
            "filtered_efforts": self._store.filtered_efforts,
            "finds_words": self._store.finds_words,
        }

    def search(self, kind: str, effort: Mapping[str, Any], first: int, count: int) -> Mapping[str, object]:
        """Ask some questions one by one. kind: dense, filtered or hybrid; returns ids and seconds of each."""
        if self._store is None:
            raise RuntimeError("no store is open; send the command `open` first")
        ask, ids, seconds = getattr(self._store, kind), [], []
        for question in self._questions[first : first + count]:
            started = time.perf_counter()
            found = ask(question, effort)
            seconds.append(time.perf_counter() - started)
            ids.append([int(each) for each in found][:LIMIT])
        return {"ids": ids, "seconds": seconds}

    def memory(self) -> Mapping[str, object]:
        """The largest resident size so far, in MB."""
        return {"peak_mb": status_mb("VmHWM")}


def disk_bytes(folder: Path) -> int:
    """What the files under a folder take on the disk; a file with several names counts once."""
    found = {(stat.st_dev, stat.st_ino): stat.st_blocks * 512 for stat in map(_stat, folder.rglob("*"))}
    return sum(found.values())


def _stat(path: Path) -> os.stat_result:
    return path.stat(follow_symlinks=False)


def _sync(folder: Path) -> None:
    """Have all files on the disk, as each store would need to for a power cut."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


if __name__ == "__main__":
    # Footnote's adapters share code with other benchmarks; the peers' environments know nothing of it.
    sys.path.append(str(PROJECT))
    serve(Session(sys.argv[1], sys.argv[2]))
