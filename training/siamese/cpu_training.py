"""What makes training on processors fast: no padding at all, bf16, attention and dropout of our own.

The texts of a batch lie one after another in one row (as FlashAttention's callers pack them), cut into
chunks of a few thousand tokens whose activations stay in the cache. Attention looks at one text at a time.
So batches may be drawn at random, as ranking losses want them, and still nothing is padded. Models that
cannot be packed get rows padded to the longest of their chunk, sorted by length.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from training.siamese.swaps import (
    Features,
    byte_dropout_in,
    exact_output_of,
    forward_replaced,
    packed_attention_in,
    precision_here,
    takes_packed,
)
from training.siamese.team import Alone, Team

__all__ = ["Features", "encode_fast", "fast_training", "pack", "takes_packed"]

CHUNK_TOKENS = 2048
# Tokens whose activations are kept for the way back; chunks
# beyond are computed again, so that memory does not grow with the batch.
LIVE_TOKENS = 12288

ALONE = Alone()

Tokens = Sequence[int] | NDArray[np.int32]


def pack(rows: Sequence[Tokens]) -> Features:
    """Rows of token ids as sentence-transformers and its losses know packed texts."""
    ends = torch.tensor([0, *itertools.accumulate(map(len, rows))], dtype=torch.int32)
    ids = torch.from_numpy(np.concatenate([np.asarray(row, np.int64) for row in rows]))[None]
    positions = torch.from_numpy(np.concatenate([np.arange(len(row)) for row in rows]))[None]
    return {"input_ids": ids, "position_ids": positions, "cu_seq_lens_q": ends}


@contextmanager
def fast_training(
    model: SentenceTransformer,
    precision: str = "bf16",
    check: Callable[[], None] = lambda: None,
    live_tokens: int = LIVE_TOKENS,
    team: Team = ALONE,
) -> Iterator[None]:
    """Let the model take packed features, and restore it at the end.

    precision: "bf16" (autocast inside the transformer; its output is float32 again, so that losses are
    exact) where the processor has it, or "fp32". check: called between chunks, forward and backward; what
    it raises ends the batch.
    live_tokens: beyond so many in a batch, chunks are computed once more on the way back (gradient
    checkpointing, Chen et al. 2016); 0: all chunks. team: that shares the texts of each batch.
    """
    runner = _Runner(model, check, live_tokens, team)
    with (
        packed_attention_in(model),
        byte_dropout_in(model[0]),
        exact_output_of(model[0], precision_here(precision)),
        forward_replaced(model, runner.forward),
    ):
        yield


def encode_fast(
    model: SentenceTransformer, rows: Sequence[Tokens], precision: str = "bf16"
) -> NDArray[np.float32]:
    """Vectors (n, d) of rows of token ids, in evaluation mode, with 64 chunks at a time at most."""
    order = np.argsort([len(row) for row in rows], kind="stable")
    training = model.training
    model.eval()
    found: list[NDArray[np.float32]] = []
    with torch.inference_mode(), fast_training(model, precision):
        for first in range(0, len(order), 1024):
            features = pack([rows[index] for index in order[first : first + 1024]])
            found.append(model(features)["sentence_embedding"].float().numpy())
    model.train(training)
    vectors = np.concatenate(found) if found else np.zeros((0, 0), np.float32)
    vectors[order] = vectors.copy()
    return vectors


class _Runner:
    """Runs packed features through a model chunk by chunk, shortest texts first."""

    def __init__(
        self, model: SentenceTransformer, check: Callable[[], None], live_tokens: int, team: Team
    ) -> None:
        self._forward = type(model).forward.__get__(model)
        self._packs = takes_packed(model)
        self._pad_token = model.tokenizer.pad_token_id or 0
        self._offset = first_position(model)
        self._check = check
        self._live_tokens = live_tokens
        self._team = team
        self._live = 0

    def forward(self, features: Features, **options: Any) -> Features:
        """As the model's own, for packed features too."""
        if "cu_seq_lens_q" not in features:
            self._check()
            found: Features = self._forward(features, **options)
            return found
        ends = features["cu_seq_lens_q"].tolist()
        ids = features["input_ids"][0].split(np.diff(ends).tolist())
        lengths = np.diff(ends)
        order = np.argsort(lengths, kind="stable")
        prompt = {"prompt_length": features["prompt_length"]} if "prompt_length" in features else {}
        vectors = [
            self._chunk([ids[row] for row in rows], prompt, options)
            for rows in _chunks(self._team.own(order), lengths)
        ]
        gathered, places = self._team.gather(torch.cat(vectors) if vectors else None, order)
        features["sentence_embedding"] = gathered[torch.from_numpy(np.argsort(places))]
        return features

    def _chunk(self, rows: Sequence[Tensor], prompt: Features, options: Any) -> Tensor:
        """Vectors of some texts; what lives of them until the way back is counted."""
        self._check()

        def run() -> Tensor:
            features = (self._packed(rows) if self._packs else self._padded(rows)) | prompt
            vectors: Tensor = self._forward(features, **options)["sentence_embedding"]
            return vectors

        tokens = sum(map(len, rows))
        if not torch.is_grad_enabled():
            return run()
        if self._live + tokens > self._live_tokens:
            vectors: Tensor = checkpoint(run, use_reentrant=False)
            tokens = 0
        else:
            vectors = run()
        self._live += tokens
        if vectors.requires_grad:
            vectors.register_hook(lambda _gradient: self._returned(tokens))  # type: ignore[no-untyped-call]
        return vectors

    def _returned(self, tokens: int) -> None:
        self._live -= tokens
        self._check()

    def _packed(self, rows: Sequence[Tensor]) -> Features:
        lengths = [len(row) for row in rows]
        positions = torch.cat([torch.arange(length) for length in lengths])[None] + self._offset
        ends = torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32)
        return {"input_ids": torch.cat(list(rows))[None], "position_ids": positions, "cu_seq_lens_q": ends}

    def _padded(self, rows: Sequence[Tensor]) -> Features:
        longest = max(len(row) for row in rows)
        ids = [pad(row, (0, longest - len(row)), value=self._pad_token) for row in rows]
        mask = [pad(torch.ones_like(row), (0, longest - len(row))) for row in rows]
        return {"input_ids": torch.stack(ids), "attention_mask": torch.stack(mask)}


def _chunks(order: NDArray[np.int64], lengths: NDArray[np.int64]) -> Iterator[list[int]]:
    """Rows in this order, cut where a chunk would hold more than CHUNK_TOKENS (ascending lengths)."""
    chunk: list[int] = []
    for row in order.tolist():
        if chunk and int(lengths[row]) * (len(chunk) + 1) > CHUNK_TOKENS:
            yield chunk
            chunk = []
        chunk.append(row)
    if chunk:
        yield chunk


def first_position(model: SentenceTransformer) -> int:
    """RoBERTa and its kin count positions from the row after the padding token's on."""
    for module in model[0].modules():
        padding = getattr(module, "padding_idx", None)
        if isinstance(padding, int) and isinstance(
            getattr(module, "position_embeddings", None), nn.Embedding
        ):
            return padding + 1
    return 0
