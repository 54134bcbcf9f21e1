"""How near a converted reranker is to what it was made from, and whether that is near enough."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder

from embeddings.errors import ModelDamaged
from embeddings.reranker import Reranker, Scores
from training.parity_texts import ParityTexts

FP32_VS_ORIGINAL = "fp32_vs_original"
INT8_VS_FP32 = "int8_vs_fp32"
_QUERIES = 10
_CANDIDATES = 20

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class PairParity:
    """largest_difference: between two of the models' own numbers; order_kept: share of two candidates of a
    query, whose scores differ at all, that stay in order.
    """

    pairs: int
    largest_difference: float
    order_kept: float


@dataclass(frozen=True, slots=True)
class PairBounds:
    """largest_fp32_difference: of the fp32 graph to the original, in the model's own numbers; least_order:
    share of candidates that int8 has to keep in fp32's order.
    """

    largest_fp32_difference: float = 1e-4
    least_order: float = 0.9


def parity_pairs(texts: ParityTexts, reranker: Reranker) -> list[list[Pair]]:
    """For each of some queries its pairs with the same number of passages, of which none is cut."""
    passages = texts.passages[:_CANDIDATES]
    rows = [[(query, passage) for passage in passages] for query in texts.queries[:_QUERIES]]
    fitting = [[p for p in row if not reranker.tokenize([p])[0].truncated] for row in rows]
    return [row for row in fitting if len(row) > 1]


def original_scores(original: CrossEncoder, pairs: Sequence[Pair]) -> Scores:
    """The model's own numbers (n,), before its activation."""
    given: Any = [list(pair) for pair in pairs]
    found = original.predict(given, activation_fn=torch.nn.Identity(), show_progress_bar=False)
    return np.asarray(found, dtype=np.float32).reshape(-1)


def compare(expected: Sequence[Scores], found: Sequence[Scores]) -> PairParity:
    """Compare the scores of each query's candidates. Raises ModelDamaged without any pair."""
    if not expected:
        raise ModelDamaged("no pair of the texts fits into the model's length", found="no pair to compare on")
    differences = [np.abs(a - b).max() for a, b in zip(expected, found, strict=True)]
    kept = [_order_kept(a, b) for a, b in zip(expected, found, strict=True)]
    count = sum(map(len, expected))
    return PairParity(count, float(np.max(differences)), float(np.mean(kept)))


def _order_kept(expected: Scores, found: Scores) -> float:
    first, second = np.triu_indices(len(expected), k=1)
    wanted, given = expected[first] - expected[second], found[first] - found[second]
    differ = wanted != 0
    return float(np.mean(np.sign(wanted[differ]) == np.sign(given[differ]))) if differ.any() else 1.0


def require_parity(figures: Mapping[str, Mapping[str, PairParity]], bounds: PairBounds) -> None:
    """Raise ModelDamaged, with the figure, for a comparison that is out of bounds."""
    for language, parity in figures.get(FP32_VS_ORIGINAL, {}).items():
        if not parity.largest_difference <= bounds.largest_fp32_difference:
            found = f"a difference of {parity.largest_difference:.2e} to the original ({language})"
            raise _out_of_bounds(found, f"at most {bounds.largest_fp32_difference:.1e}")
    for language, parity in figures.get(INT8_VS_FP32, {}).items():
        if not parity.order_kept >= bounds.least_order:
            found = f"int8 keeps {parity.order_kept:.3f} of the candidates in order ({language})"
            raise _out_of_bounds(found, f"at least {bounds.least_order}")


def _out_of_bounds(found: str, expected: str) -> ModelDamaged:
    return ModelDamaged(
        f"the converted reranker is not the model that it was made from: {found}, expected {expected}",
        found=found,
        expected=expected,
        next_step="convert with --precision fp32, or with --texts of your own; nothing was written",
    )
