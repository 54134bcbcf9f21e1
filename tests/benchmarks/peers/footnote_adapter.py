"""Footnote's bundled encoder: many texts through the queue, as the service runs them, and one by a call, as a
program does that has no queue. There are no variants.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embeddings.artifact import BUNDLED_ENCODER
from embeddings.encoder import Encoder
from embeddings.engine import EncoderEngine, Lane
from embeddings.vectors import unit_rows


def load(
    model: Path, variant: str, threads: int, batch_texts: int
) -> Callable[[Sequence[str]], NDArray[np.float32]]:
    """model, batch_texts: the peers' ones, which are not used: the queue fills batches by tokens."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # as in the service: the workers tokenise themselves
    encoder = Encoder.load(BUNDLED_ENCODER)
    engine = EncoderEngine(encoder, workers=threads)

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        if len(texts) == 1:
            return encoder.encode(texts, "")
        return unit_rows(engine.submit(texts, prompt="", lane=Lane.BULK).result().vectors)

    return encode
