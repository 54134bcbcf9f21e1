"""What each objective learns from: examples of one shape turned into the rows of its batches."""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from embeddings.errors import InvalidInput
from training.siamese.types import LabelledText, Pair, TrainingData

RANKING = ("MultipleNegativesRanking", "CachedMultipleNegativesRanking", "GIST")
SCORING = ("CosineSimilarity", "CoSENT", "AnglE")
BINARY = ("Contrastive", "OnlineContrastive")
BY_LABEL = (
    "BatchAllTriplet",
    "BatchHardTriplet",
    "BatchHardSoftMarginTriplet",
    "BatchSemiHardTriplet",
)
TRIPLETS = ("Triplet", "MarginMSE")


@dataclass(frozen=True, slots=True)
class Example:
    """What one row of a batch is made from.

    texts: the columns that a loss takes; for ranking losses query and positive, with the rest in
    `negatives`. label: score, class number, or the teacher's margin. known: texts that are right for the
    query, none of which may stand beside it as a negative.
    """

    texts: tuple[str, ...]
    label: float = 0.0
    negatives: tuple[str, ...] = ()
    known: frozenset[str] = field(default_factory=frozenset)


def described(examples: Sequence[Example]) -> Iterator[str]:
    """Examples in words that are the same in every process, to know them again by."""
    for each in examples:
        # Not `known`, which is a set: its order differs from process to process. It follows from the rest.
        yield repr((each.texts, each.label, each.negatives))


def examples_for(name: str, data: TrainingData, seed: int) -> list[Example]:
    """What the objective learns from the data.

    Pairs with negatives become scored pairs for the losses that take scores; labelled texts become pairs of
    one class (and of two, where scores are wanted), drawn with the seed. Scores from 0.5 on count as 1 where
    a loss knows but yes and no. Raises InvalidInput saying which shapes the objective fits.
    """
    if name in BY_LABEL:
        found = list(_labelled(data))
    elif name in RANKING:
        found = [*_ranked(data.pairs), *_same_class(data.labelled, seed)]
    elif name in TRIPLETS:
        found = [
            Example((pair.query, pair.positive, negative))
            for pair in data.pairs
            for negative in pair.negatives
        ]
    else:
        found = list(_scored(data, seed, binary=name in BINARY))
    one_sided = name not in (*RANKING, *TRIPLETS) and len({each.label for each in found}) < 2
    if not found or one_sided:
        raise _misfit(name, data)
    return found


def _misfit(name: str, data: TrainingData) -> InvalidInput:
    shapes = next(fit for names, fit in _FITS.items() if name in names)
    found = f"{len(data.pairs)} pairs ({sum(1 for pair in data.pairs if pair.negatives)} with negatives), "
    return InvalidInput(
        f"{name} has nothing to learn from in this data",
        field="objective.name",
        found=f"{found}{len(data.scored)} scored pairs, {len(data.labelled)} labelled texts",
        expected=shapes,
        next_step='let the objective be chosen from the data ("auto"), or mine negatives for pairs',
    )


_FITS = {
    RANKING: "pairs, triplets or labelled texts",
    TRIPLETS: "triplets (pairs with negatives)",
    SCORING: "scored pairs, triplets (pairs with negatives) or labelled texts of two classes",
    BINARY: "scored pairs, triplets (pairs with negatives) or labelled texts of two classes",
    BY_LABEL: "labelled texts of at least two classes",
}


def _labelled(data: TrainingData) -> Iterator[Example]:
    numbers = {label: number for number, label in enumerate(sorted({each.label for each in data.labelled}))}
    for each in data.labelled:
        yield Example((each.text,), float(numbers[each.label]))


def _ranked(pairs: Sequence[Pair]) -> Iterator[Example]:
    known: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        known[pair.query].add(pair.positive)
    for pair in pairs:
        right = frozenset(known[pair.query])
        wrong = tuple(text for text in dict.fromkeys(pair.negatives) if text not in right)
        yield Example((pair.query, pair.positive), 1.0, wrong, right)


def _same_class(texts: Sequence[LabelledText], seed: int) -> Iterator[Example]:
    """Each text with another one of its class; the whole class is right for it."""
    for first, same, _other, members in _class_mates(texts, seed):
        yield Example((first, same), 1.0, (), members)


def _scored(data: TrainingData, seed: int, binary: bool) -> Iterator[Example]:
    for pair in data.scored:
        yield Example((pair.first, pair.second), float(pair.score >= 0.5) if binary else pair.score)
    for ranked in data.pairs if any(pair.negatives for pair in data.pairs) else ():
        yield Example((ranked.query, ranked.positive), 1.0)
        yield from (Example((ranked.query, negative), 0.0) for negative in ranked.negatives)
    for first, same, other, _members in _class_mates(data.labelled, seed):
        yield Example((first, same), 1.0)
        yield Example((first, other), 0.0)


def _class_mates(texts: Sequence[LabelledText], seed: int) -> Iterator[tuple[str, str, str, frozenset[str]]]:
    """For each text: one of its class, one of another, and its class. Classes of one text give none."""
    rng = random.Random(seed)
    classes: dict[str, list[str]] = defaultdict(list)
    for each in texts:
        classes[each.label].append(each.text)
    members = {label: frozenset(inside) for label, inside in classes.items()}
    for each in texts:
        mates = [text for text in classes[each.label] if text != each.text]
        strangers = [label for label in classes if label != each.label]
        if mates and strangers:
            other = rng.choice(classes[rng.choice(strangers)])
            yield each.text, rng.choice(mates), other, members[each.label]
