"""Sessions of ONNX Runtime, as encoders use them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime as ort

# Path of the graph, threads, and whether 8-bit products have to be exact.
SessionOpener = Callable[[Path, int, bool], Any]


def open_session(path: Path, threads: int, exact: bool) -> Any:
    """Open a graph. exact: with 8-bit products that are right on every processor, and slower where the usual
    ones are not: see embeddings/golden.py.
    """
    options = ort.SessionOptions()
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The memory arena stays on: without it the peak was 441 MB instead of 199. Threads that spin while they
    # wait took 40 % of the CPU time from everybody else.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
