"""The parity gate of encoder conversions: does the converted model still say what the original said?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from embeddings.encoder import Encoder
from embeddings.errors import ModelDamaged
from embeddings.vectors import unit_rows
from training.encoder_judgement import Judgement
from training.parity_texts import ParityTexts

Vectors = NDArray[np.float32]
Figures = Mapping[str, Mapping[str, "Agreement"]]  # by comparison and by language

FP32_VS_ORIGINAL = "fp32_graph_vs_original"


class Original(Protocol):
    """The model that was converted: a SentenceTransformer, or a fake in tests."""

    def encode(self, inputs: Any, /, *, prompt: str, batch_size: int, show_progress_bar: bool) -> Any: ...


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near two encodings of the same texts are.

    Cosines are between the two vectors of a text; top10_overlap is the mean share of a query's ten nearest
    passages that both encodings agree on; largest_difference is between two numbers of unit vectors.
    """

    lowest_cosine: float
    mean_cosine: float
    top10_overlap: float
    largest_difference: float


@dataclass(frozen=True, slots=True)
class ParityBounds:
    """What a conversion has to reach.

    fp32_difference: the largest between the fp32 graph and the original, in a number of a unit vector; the
    next three: the lowest values of `Agreement`, for int8; ndcg_drop: the largest loss of nDCG@10 of int8
    against fp32, 0.005 being half a point.
    """

    fp32_difference: float = 1e-4
    lowest_cosine: float = 0.96
    mean_cosine: float = 0.98
    top10_overlap: float = 0.75
    ndcg_drop: float = 0.005


def compare_fp32(original: Original, graph: Encoder, texts: Sequence[ParityTexts]) -> dict[str, Agreement]:
    """How near the fp32 graph is to the original, by language."""
    found = {}
    for sample in texts:
        reference = np.concatenate(
            [
                _by_original(original, sample.queries, graph.spec.prompts.get("query", "")),
                _by_original(original, sample.passages, graph.spec.prompts.get("passage", "")),
            ]
        )
        found[sample.language] = agreement(_by_graph(graph, sample), reference, len(sample.queries))
    return found


def compare_int8(
    fp32: Encoder, int8: Encoder, texts: Sequence[ParityTexts]
) -> dict[str, dict[str, Agreement]]:
    """How near the int8 graph is to the fp32 graph, and to itself on single texts."""
    figures: dict[str, dict[str, Agreement]] = {"int8_vs_fp32_graph": {}, "int8_single_vs_batched": {}}
    for sample in texts:
        reference, batched = _by_graph(fp32, sample), _by_graph(int8, sample)
        pairs = ((batched, reference), (_one_by_one(int8, sample), batched))
        for name, (found, expected) in zip(figures, pairs, strict=True):
            figures[name][sample.language] = agreement(found, expected, len(sample.queries))
    return figures


def _by_original(original: Original, texts: Sequence[str], prompt: str) -> Vectors:
    rows = original.encode(list(texts), prompt=prompt, batch_size=16, show_progress_bar=False)
    return unit_rows(np.asarray(rows, dtype=np.float32))


def _by_graph(encoder: Encoder, sample: ParityTexts) -> Vectors:
    return np.concatenate(
        [encoder.encode(sample.queries, "query"), encoder.encode(sample.passages, "passage")]
    )


def _one_by_one(encoder: Encoder, sample: ParityTexts) -> Vectors:
    queries = [encoder.encode([text], "query") for text in sample.queries]
    return np.concatenate([*queries, *(encoder.encode([text], "passage") for text in sample.passages)])


def agreement(found: Vectors, expected: Vectors, queries: int) -> Agreement:
    """Compare two encodings (texts, dimension) of unit rows, whose first `queries` rows are the queries."""
    cosines = np.einsum("nd,nd->n", found, expected)
    nearest = zip(_nearest(found, queries), _nearest(expected, queries), strict=True)
    overlaps = [len(set(mine) & set(theirs)) / len(theirs) for mine, theirs in nearest]
    return Agreement(
        lowest_cosine=round(float(cosines.min()), 5),
        mean_cosine=round(float(cosines.mean()), 5),
        top10_overlap=round(float(np.mean(overlaps)), 4),
        largest_difference=round(float(np.abs(found - expected).max()), 8),
    )


def _nearest(vectors: Vectors, queries: int, limit: int = 10) -> list[list[int]]:
    scores = vectors[:queries] @ vectors[queries:].T  # (queries, passages)
    rows: list[list[int]] = np.argsort(-scores, axis=1, kind="stable")[:, :limit].tolist()
    return rows


def require_parity(figures: Figures, judgements: Sequence[Judgement], bounds: ParityBounds) -> None:
    """Raise ModelDamaged with every figure that is out of bounds."""
    failures = [
        *(failure for name, languages in figures.items() for failure in _strayed(name, languages, bounds)),
        *(
            f"{judged.data} nDCG@10 fell by {judged.drop:.4f} > {bounds.ndcg_drop}"
            for judged in judgements
            if not judged.drop <= bounds.ndcg_drop
        ),
    ]
    if failures:
        raise ModelDamaged(
            "the converted encoder strays from the original; nothing was written",
            found="; ".join(failures),
            expected="every figure within its bound",
            next_step="convert with --precision fp32, or set the bounds that your use can bear",
        )


def _strayed(name: str, languages: Mapping[str, Agreement], bounds: ParityBounds) -> Iterator[str]:
    """What is out of bounds; comparisons are written so that NaN is too."""
    for language, found in languages.items():
        difference = found.largest_difference
        if name.startswith("fp32"):
            if not difference <= bounds.fp32_difference:
                yield f"{name} {language} largest_difference {difference} > {bounds.fp32_difference}"
            continue
        for key in ("lowest_cosine", "mean_cosine", "top10_overlap"):
            value, bound = getattr(found, key), getattr(bounds, key)
            if not value >= bound:
                yield f"{name} {language} {key} {value} < {bound}"
