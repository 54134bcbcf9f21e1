"""fastembed on a local ONNX graph, as its documentation adds a model of one's own. Variants: fp32, int8."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
from numpy.typing import NDArray

NAME = "local/all-MiniLM-L6-v2"


def load(
    model: Path, variant: str, threads: int, batch_texts: int
) -> Callable[[Sequence[str]], NDArray[np.float32]]:
    TextEmbedding.add_custom_model(
        model=NAME,
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf=NAME),
        dim=384,
        model_file="model.onnx",
    )
    encoder = TextEmbedding(NAME, specific_model_path=str(model / variant), threads=threads)

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack(list(encoder.embed(list(texts), batch_size=batch_texts)))

    return encode
