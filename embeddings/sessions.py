"""Sessions of ONNX Runtime, as encoders use them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime as ort

# Path of the graph, and whether 8-bit products have to be exact.
SessionOpener = Callable[[Path, bool], Any]


def open_session(path: Path, exact: bool) -> Any:
    """Open a graph, each run of which takes one thread: two runs at once, a core each, are faster than one
    run on two cores, and short texts leave nothing to share. Any number of threads may run it.

    exact: with 8-bit products that are right on every processor, and slower where the usual ones are not: see
    embeddings/golden.py.
    """
    options = ort.SessionOptions()
    if exact:
        ask_exact_products(options)
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # The memory arena stays on: without it the peak was 441 MB instead of 199.
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def ask_exact_products(options: ort.SessionOptions) -> None:
    """8-bit products that are right on every processor. It changes nothing where the usual ones are."""
    options.add_session_config_entry("session.x64quantprecision", "1")
