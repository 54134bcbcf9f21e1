"""Train one encoder for the benchmark, in that trainer's own environment: a line of JSON each way.

    python training_worker.py ADAPTER

ADAPTER names a module beside this one with `train(model, pairs, batch, steps, threads)`, which returns the
time at the end of each optimiser step.
"""

import importlib
import json
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from worker import serve, status_mb


class Session:
    """Its public method is the command."""

    def __init__(self, adapter: str) -> None:
        self._adapter = importlib.import_module(adapter)

    def train(self, model: str, pairs: str, batch: int, steps: int, threads: int) -> Mapping[str, object]:
        """Train on the pairs of a JSON file; seconds: of each step but the first, which warms up."""
        examples = [tuple(pair) for pair in json.loads(Path(pairs).read_text(encoding="utf-8"))]
        ends = self._adapter.train(Path(model), examples, batch, steps, threads)
        seconds = [after - before for before, after in pairwise(ends)]
        return {"seconds": seconds, "peak_mb": status_mb("VmHWM")}


if __name__ == "__main__":
    serve(Session(sys.argv[1]))
