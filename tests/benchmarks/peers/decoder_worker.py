"""Serve one decoder to the benchmark, in that decoder's own environment: a line of JSON each way.

    python decoder_worker.py ADAPTER

ADAPTER names a module beside this one with a class `Decoder` as in decoder_contract.py. Times are taken on
this side of the pipe.
"""

import importlib
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from decoder_contract import Arrival
from worker import serve, status_mb

PROJECT = Path(__file__).parents[3]


class Session:
    """A loaded decoder and the prompts it was told of. Each public method is a command."""

    def __init__(self, adapter: str) -> None:
        self._adapter = adapter
        self._decoder: Any = None
        self._prompts: dict[str, list[list[int]]] = {}

    def load(self, model: str, variant: str, threads: int) -> Mapping[str, object]:
        """Open the model; seconds: with the imports."""
        started = time.perf_counter()
        self._decoder = importlib.import_module(self._adapter).Decoder(Path(model), variant, threads)
        return {"seconds": time.perf_counter() - started}

    def prompts(self, name: str, path: str) -> Mapping[str, object]:
        """Read a JSON list of prompts, which are lists of token ids, and keep it by name."""
        self._prompts[name] = json.loads(Path(path).read_text(encoding="utf-8"))
        return {"prompts": len(self._prompts[name])}

    def generate(self, prompts: str, batch: int, new_tokens: int, skip: int = 0) -> Mapping[str, object]:
        """Decode `batch` prompts of a name together, from `skip` on, going round."""
        chosen = self._prompts[prompts]
        picked = [chosen[(skip + place) % len(chosen)] for place in range(batch)]
        return self._decoder.generate(picked, new_tokens).figures()

    def serve(self, arrivals: str) -> Mapping[str, object]:
        """Serve the requests of a JSON file as they arrive; ended_s: of each, after the start."""
        requests = [Arrival(**each) for each in json.loads(Path(arrivals).read_text(encoding="utf-8"))]
        return {"ended_s": self._decoder.serve(requests)}

    def measure(self, name: str, **arguments: object) -> Mapping[str, object]:
        """A measurement that only this adapter has."""
        return dict(getattr(self._decoder, name)(**arguments))

    def memory(self) -> Mapping[str, object]:
        """The largest resident size so far, in MB, and the one now."""
        return {"peak_mb": status_mb("VmHWM"), "now_mb": status_mb("VmRSS")}


if __name__ == "__main__":
    # Footnote's adapter is run from a checkout; the peers' environments know nothing of it.
    sys.path.append(str(PROJECT))
    serve(Session(sys.argv[1]))
