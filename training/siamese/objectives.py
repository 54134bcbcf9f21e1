"""The Siamese objectives of sentence-transformers: which to take, and settings that fit unit vectors.

Encoders give unit vectors, so distances are bounded: cosine distance is at most 2, and sentence-transformers'
default margins of 5 (Triplet, Batch*) would never switch off. Distances here are cosine distances.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.losses import (
    BatchHardTripletLossDistanceFunction,
    SiameseDistanceMetric,
    TripletDistanceMetric,
)
from torch import nn

from embeddings.errors import InvalidInput
from training.siamese.plan import Objective
from training.siamese.types import Shape, TrainingData

# Cosine distance between texts that have nothing in common is about 1 (0.8 to 1 for MiniLM), between a
# question and its passage 0.3 to 0.5. So negatives are pushed up to 0.5 and no further (Contrastive), and a
# positive shall be nearer than a hard negative by 0.2.
CONTRASTIVE_MARGIN = 0.5
TRIPLET_MARGIN = 0.2
# Tokens of a mini-batch of the cached ranking loss; its memory no longer grows with the batch.
CACHED_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Choice:
    """An objective's name and why it was chosen, in words for the report."""

    name: str
    why: str


def choose_objective(data: TrainingData) -> Choice:
    """The objective for the shape of most examples. Raises InvalidInput without examples."""
    shape = data.shape
    if shape is None:
        raise InvalidInput(
            "there are no examples to train on",
            field="data",
            found="0 examples",
            expected="pairs, triplets, scored pairs or labelled texts",
            next_step="give examples, or let queries be written (synthetic.passages)",
        )
    name, why = _BY_SHAPE[shape]
    if shape is Shape.SCORED and {pair.score for pair in data.scored} <= {0.0, 1.0}:
        name, why = "OnlineContrastive", "all scores are 0 or 1, so that only the confused pairs need a push"
    counts = f"{len(data.pairs)} pairs, {len(data.scored)} scored pairs, {len(data.labelled)} labelled texts"
    return Choice(name, f"most examples are {shape.value} ({counts}): {why}")


_BY_SHAPE = {
    Shape.PAIRS: (
        "MultipleNegativesRanking",
        "the passages of the other queries of a batch serve as negatives, as in a search",
    ),
    Shape.TRIPLETS: (
        "MultipleNegativesRanking",
        "the given negatives rank together with the passages of the other queries of a batch",
    ),
    Shape.SCORED: ("CoSENT", "it learns the order of the scores, whatever their scale"),
    Shape.LABELLED: (
        "BatchAllTriplet",
        "all triplets of texts of a batch that still break the margin, by their classes",
    ),
}


def make_loss(
    model: SentenceTransformer, objective: Objective, guide: SentenceTransformer | None = None
) -> nn.Module:
    """The loss of sentence-transformers for the objective, with Matryoshka around it where asked for.

    guide: of GIST, an encoder that tells which in-batch negatives are none. Raises InvalidInput for a name
    that is not one, a missing guide, or sizes larger than the model's vectors.
    """
    if objective.name not in _LOSSES:
        raise InvalidInput(
            f"unknown objective {objective.name!r}",
            field="objective.name",
            found=objective.name,
            expected=", ".join(_LOSSES),
        )
    loss = _LOSSES[objective.name](model, objective, guide)
    return _matryoshka(model, loss, objective.matryoshka_dimensions)


def _matryoshka(model: SentenceTransformer, loss: nn.Module, dimensions: Sequence[int]) -> nn.Module:
    if not dimensions:
        return loss
    whole = int(model.get_embedding_dimension() or max(dimensions))
    if max(dimensions) > whole:
        raise InvalidInput(
            "a Matryoshka size is larger than the vectors",
            field="objective.matryoshka_dimensions",
            found=str(max(dimensions)),
            expected=f"at most {whole}",
        )
    # Without the whole vector among them it would get worse.
    sizes = sorted({*dimensions, whole}, reverse=True)
    wrapped: nn.Module = losses.MatryoshkaLoss(model, loss, sizes)
    return wrapped


Maker = Callable[[SentenceTransformer, Objective, SentenceTransformer | None], nn.Module]
_COSINE = BatchHardTripletLossDistanceFunction.cosine_distance


def _margin(objective: Objective, default: float) -> float:
    return default if objective.margin is None else objective.margin


def _by_label(kind: Callable[..., nn.Module]) -> Maker:
    return lambda model, objective, _guide: kind(
        model, distance_metric=_COSINE, margin=_margin(objective, TRIPLET_MARGIN)
    )


def _contrastive(kind: Callable[..., nn.Module]) -> Maker:
    return lambda model, objective, _guide: kind(
        model,
        distance_metric=SiameseDistanceMetric.COSINE_DISTANCE,
        margin=_margin(objective, CONTRASTIVE_MARGIN),
    )


def _gist(model: SentenceTransformer, objective: Objective, guide: SentenceTransformer | None) -> nn.Module:
    if guide is None:
        raise InvalidInput(
            "GIST needs a guide", field="objective.teacher", found="no guide", expected="an encoder"
        )
    loss: nn.Module = losses.GISTEmbedLoss(
        model, guide, temperature=1 / objective.scale, margin=_margin(objective, 0.0)
    )
    return loss


_LOSSES: dict[str, Maker] = {
    "CosineSimilarity": lambda model, _objective, _guide: losses.CosineSimilarityLoss(model),
    "CoSENT": lambda model, objective, _guide: losses.CoSENTLoss(model, scale=objective.scale),
    "AnglE": lambda model, objective, _guide: losses.AnglELoss(model, scale=objective.scale),
    "Contrastive": _contrastive(losses.ContrastiveLoss),
    "OnlineContrastive": _contrastive(losses.OnlineContrastiveLoss),
    "Triplet": lambda model, objective, _guide: losses.TripletLoss(
        model,
        distance_metric=TripletDistanceMetric.COSINE,
        triplet_margin=_margin(objective, TRIPLET_MARGIN),
    ),
    "BatchAllTriplet": _by_label(losses.BatchAllTripletLoss),
    "BatchHardTriplet": _by_label(losses.BatchHardTripletLoss),
    "BatchHardSoftMarginTriplet": lambda model, _objective, _guide: losses.BatchHardSoftMarginTripletLoss(
        model, distance_metric=_COSINE
    ),
    "BatchSemiHardTriplet": _by_label(losses.BatchSemiHardTripletLoss),
    "MultipleNegativesRanking": lambda model, objective, _guide: losses.MultipleNegativesRankingLoss(
        model, scale=objective.scale
    ),
    "CachedMultipleNegativesRanking": lambda model, objective, _guide: (
        losses.CachedMultipleNegativesRankingLoss(
            model, scale=objective.scale, mini_batch_num_tokens=CACHED_TOKENS
        )
    ),
    "GIST": _gist,
    "MarginMSE": lambda model, _objective, _guide: losses.MarginMSELoss(model),
}
