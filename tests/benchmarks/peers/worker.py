"""Serve one encoder to the benchmark, in that encoder's own environment: a line of JSON each way.

    python worker.py ADAPTER

ADAPTER names a module beside this one with `load(model, variant, threads, batch_texts)`, which returns a
function from texts to rows. Only the standard library and NumPy are imported here: nothing else is in all
environments. Times are taken on this side of the pipe.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Encode = Callable[[Sequence[str]], NDArray[np.float32]]


class Session:
    """A loaded encoder and the texts it was told of. Each public method is a command."""

    def __init__(self, adapter: str) -> None:
        self._adapter = adapter
        self._encode: Encode | None = None
        self._texts: dict[str, list[str]] = {}

    def load(self, model: str, variant: str, threads: int, batch_texts: int) -> Mapping[str, object]:
        """Open the model; seconds: with the imports."""
        started = time.perf_counter()
        adapter = importlib.import_module(self._adapter)
        self._encode = adapter.load(Path(model), variant, threads, batch_texts)
        return {"seconds": time.perf_counter() - started}

    def texts(self, name: str, path: str) -> Mapping[str, object]:
        """Read a JSON list of texts and keep it by name."""
        self._texts[name] = json.loads(Path(path).read_text(encoding="utf-8"))
        return {"texts": len(self._texts[name])}

    def encode(self, texts: str) -> Mapping[str, object]:
        """Encode all texts of a name in one call; seconds of the call."""
        started = time.perf_counter()
        rows = self._run(self._texts[texts])
        return {"seconds": time.perf_counter() - started, "rows": len(rows)}

    def singles(self, texts: str, calls: int, skip: int = 0) -> Mapping[str, object]:
        """Encode one text a call, going round the texts of a name; seconds of each call."""
        chosen = self._texts[texts]
        seconds = []
        for call in range(skip, skip + calls):
            started = time.perf_counter()
            self._run([chosen[call % len(chosen)]])
            seconds.append(time.perf_counter() - started)
        return {"seconds": seconds}

    def vectors(self, texts: str, path: str) -> Mapping[str, object]:
        """Write the rows of the texts of a name as .npy."""
        rows = self._run(self._texts[texts])
        np.save(path, np.asarray(rows, dtype=np.float32))
        return {"rows": len(rows)}

    def memory(self) -> Mapping[str, object]:
        """The largest resident size so far, in MB."""
        return {"peak_mb": status_mb("VmHWM")}

    def _run(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self._encode is None:
            raise RuntimeError("no model is loaded; send the command `load` first")
        return self._encode(texts)


def status_mb(entry: str) -> float:
    """A size that Linux tells of this process, in MB. VmHWM: the largest resident so far; VmRSS: now."""
    # Not ru_maxrss: that begins with the size of the process which started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith(f"{entry}:"))


def answer(session: object, line: str) -> Mapping[str, object]:
    """Run the command of a line; what failed is told as `error`, not raised."""
    try:
        request: dict[str, Any] = json.loads(line)
        command = request.pop("command")
        if command.startswith("_"):
            raise ValueError(f"no command {command!r}")
        return dict(getattr(session, command)(**request))
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def serve(session: object) -> None:
    """Answer the commands on standard input until it ends, then end the process.

    session: each of its public methods is a command.
    """
    # Libraries print to standard output at will: it becomes standard error for them.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        replies.write(json.dumps(answer(session, line)) + "\n")
        replies.flush()
    # Engines leave threads behind that keep some interpreters from ending.
    os._exit(0)


if __name__ == "__main__":
    serve(Session(sys.argv[1]))
