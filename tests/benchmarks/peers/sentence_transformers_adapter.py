"""sentence-transformers on torch, as its documentation shows; it sorts by length. Variants: fp32, bf16."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

MAX_TOKENS = 256


def load(
    model: Path, variant: str, threads: int, batch_texts: int
) -> Callable[[Sequence[str]], NDArray[np.float32]]:
    torch.set_num_threads(threads)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[variant]
    encoder = SentenceTransformer(
        str(model), device="cpu", model_kwargs={"dtype": dtype}, local_files_only=True
    )
    encoder.max_seq_length = MAX_TOKENS

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        return encoder.encode(
            list(texts), batch_size=batch_texts, normalize_embeddings=True, show_progress_bar=False
        )

    return encode
