"""infinity's engine in process; it sorts by length itself. Variants: torch-bf16, onnx-fp32, onnx-int8."""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from infinity_emb import AsyncEmbeddingEngine, EngineArgs
from numpy.typing import NDArray


def load(
    model: Path, variant: str, threads: int, batch_texts: int
) -> Callable[[Sequence[str]], NDArray[np.float32]]:
    """threads: taken from OMP_NUM_THREADS by torch; ONNX Runtime takes all cores."""
    runtime, precision = variant.split("-")
    # infinity hands optimum the graph's whole path, which optimum seeks inside the folder: only "." agrees.
    os.chdir(model if runtime == "torch" else model / precision)
    arguments = EngineArgs(
        model_name_or_path=".",
        engine="torch" if runtime == "torch" else "optimum",
        dtype="bfloat16" if precision == "bf16" else "float32",
        device="cpu",
        batch_size=batch_texts,
        pooling_method="mean",
        bettertransformer=False,
        # Its optimiser does not go with optimum 2 and falls back; ONNX Runtime fuses when it opens the graph.
        onnx_disable_optimize=True,
    )
    engine = AsyncEmbeddingEngine.from_args(arguments)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(engine.astart())

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        rows, _ = loop.run_until_complete(engine.embed(sentences=list(texts)))
        return np.asarray(rows, dtype=np.float32)

    return encode
