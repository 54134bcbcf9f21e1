"""Footnote's own encoder, as its command line and its service run it. No variants."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embeddings.artifact import BUNDLED_ENCODER
from embeddings.encoder import Encoder


def load(model: Path, variant: str, threads: int) -> Callable[[Sequence[str]], NDArray[np.float32]]:
    """model: unused, the bundled one is measured."""
    encoder = Encoder.load(BUNDLED_ENCODER, threads)

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        return encoder.encode(texts, "")

    return encode
