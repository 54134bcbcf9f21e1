"""The parity gate of encoder conversions: does the small model still say what the original said?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from embeddings.encoder import Encoder
from embeddings.errors import ModelDamaged
from training.parity_texts import ParityTexts

Vectors = NDArray[np.float32]


class Original(Protocol):
    """The model that was converted: a SentenceTransformer, or a fake in tests."""

    def encode(self, inputs: Any, /, *, batch_size: int, show_progress_bar: bool) -> Any: ...


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near two encodings of the same texts are.

    Cosines are between the two vectors of a text; top10_overlap is the mean share of a query's ten nearest
    passages that both encodings agree on.
    """

    lowest_cosine: float
    mean_cosine: float
    top10_overlap: float


# The exported graph is the same arithmetic in another order. Dynamic int8 is not, and is noisiest on
# languages that the model was not trained on: all-MiniLM-L6-v2 measured lowest / mean / overlap
# .987 / .994 / .91 in English, .977 / .987 / .83 in Russian, .974 / .986 / .88 in Chinese. Below these bounds
# something is broken.
BOUNDS: Mapping[str, Agreement] = {
    "fp32_graph_vs_original": Agreement(0.9999, 0.9999, 0.98),
    "int8_vs_original": Agreement(0.96, 0.98, 0.75),
    "int8_vs_fp32_graph": Agreement(0.96, 0.98, 0.75),
    "int8_single_vs_batched": Agreement(0.96, 0.98, 0.75),
}


def measure_parity(
    original: Original, fp32: Encoder, int8: Encoder, texts: Sequence[ParityTexts]
) -> dict[str, dict[str, Agreement]]:
    """Agreements by comparison (the keys of BOUNDS) and language."""
    figures: dict[str, dict[str, Agreement]] = {name: {} for name in BOUNDS}
    for sample in texts:
        everything = [*sample.queries, *sample.passages]
        reference = np.asarray(
            original.encode(everything, batch_size=16, show_progress_bar=False), dtype=np.float32
        )
        graph, batched = fp32.encode(everything, "passage"), int8.encode(everything, "passage")
        single = np.concatenate([int8.encode([text], "passage") for text in everything])
        pairs = ((graph, reference), (batched, reference), (batched, graph), (single, batched))
        for name, (found, expected) in zip(BOUNDS, pairs, strict=True):
            figures[name][sample.language] = agreement(found, expected, queries=len(sample.queries))
    return figures


def agreement(found: Vectors, expected: Vectors, queries: int) -> Agreement:
    """Compare two encodings (texts, dimension) of unit rows, whose first `queries` rows are the queries."""
    cosines = np.einsum("nd,nd->n", found, expected)
    nearest = zip(_nearest(found, queries), _nearest(expected, queries), strict=True)
    overlaps = [len(set(mine) & set(theirs)) / len(theirs) for mine, theirs in nearest]
    return Agreement(
        lowest_cosine=round(float(cosines.min()), 5),
        mean_cosine=round(float(cosines.mean()), 5),
        top10_overlap=round(float(np.mean(overlaps)), 4),
    )


def _nearest(vectors: Vectors, queries: int, limit: int = 10) -> list[list[int]]:
    scores = vectors[:queries] @ vectors[queries:].T  # (queries, passages)
    rows: list[list[int]] = np.argsort(-scores, axis=1, kind="stable")[:, :limit].tolist()
    return rows


def require_parity(figures: Mapping[str, Mapping[str, Agreement]]) -> None:
    """Raise ModelDamaged with every figure that is out of bounds."""
    failures = [
        f"{name} {language} {key} {value} < {bound}"
        for name, languages in figures.items()
        for language, found in languages.items()
        for (key, value), bound in zip(asdict(found).items(), asdict(BOUNDS[name]).values(), strict=True)
        if not value >= bound  # so that NaN fails too
    ]
    if failures:
        raise ModelDamaged(
            "the converted encoder strays from the original",
            found="; ".join(failures),
            expected="every figure at or above its bound",
            next_step="do not use it; look at the operators that were quantised",
        )
