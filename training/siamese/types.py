"""What an encoder is trained on. Nothing here needs torch."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Corpus = Mapping[str, str]  # id of a passage -> its text; the id of its document stands before the last "#"


class Origin(StrEnum):
    """Where an example comes from."""

    UPLOADED = "uploaded"
    FEEDBACK = "feedback"
    SYNTHETIC = "synthetic"


class Shape(StrEnum):
    """What the examples of a set look like; it decides which objectives can learn from them."""

    PAIRS = "pairs"
    TRIPLETS = "triplets"
    SCORED = "scored pairs"
    LABELLED = "labelled texts"


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and a passage that answers it. negatives: passages that do not; with them it is a triplet.

    group: what must not be torn apart between training and held-out queries: the document of the passage, or
    the passage itself where no document is known.
    """

    query: str
    positive: str
    group: str
    origin: Origin = Origin.UPLOADED
    negatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """Two texts and how alike they are, 0 to 1."""

    first: str
    second: str
    score: float
    group: str
    origin: Origin = Origin.UPLOADED


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text and its class: texts of a class belong together."""

    text: str
    label: str
    origin: Origin = Origin.UPLOADED


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Examples by shape. corpus: the passages that are searched; it may be empty for sets without one."""

    pairs: tuple[Pair, ...] = ()
    scored: tuple[ScoredPair, ...] = ()
    labelled: tuple[LabelledText, ...] = ()
    corpus: Corpus = field(default_factory=dict)

    @property
    def shape(self) -> Shape | None:
        """The shape of most examples; None without any. Pairs of which half have negatives are triplets."""
        with_negatives = sum(1 for pair in self.pairs if pair.negatives)
        counts = {
            Shape.TRIPLETS if 2 * with_negatives > len(self.pairs) else Shape.PAIRS: len(self.pairs),
            Shape.SCORED: len(self.scored),
            Shape.LABELLED: len(self.labelled),
        }
        shape = max(counts, key=lambda each: counts[each])
        return shape if counts[shape] else None

    @property
    def mostly_written(self) -> bool:
        """Whether most examples are written queries."""
        written = sum(1 for pair in self.pairs if pair.origin == Origin.SYNTHETIC)
        return 2 * written > len(self)

    def __len__(self) -> int:
        return len(self.pairs) + len(self.scored) + len(self.labelled)


# Texts and their role, "query" or "passage" -> (n, d) float32 unit vectors.
EncodeTexts = Callable[[Sequence[str], Literal["query", "passage"]], NDArray[np.float32]]


def encoded_parts(
    parts: Iterable[Sequence[str]], role: Literal["query", "passage"], encode: EncodeTexts
) -> Iterator[NDArray[np.float32]]:
    """The vectors of each part, in their order: one part after the other, or several at once where `encode`
    works in several places.
    """
    at_once: Callable[..., Iterator[NDArray[np.float32]]] | None = getattr(encode, "parts", None)
    return (encode(part, role) for part in parts) if at_once is None else at_once(parts, role)


def document_of(passage_id: str) -> str:
    """The document that a passage of a corpus belongs to."""
    return passage_id.rpartition("#")[0] or passage_id
