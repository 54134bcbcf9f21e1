"""Held-out examples that no training example gives away, and the search task that they become."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import InvalidInput
from retrieval.benchmark import RetrievalTask
from training.siamese.cleaning import AnyExample, Removal, Removed, roles, sides
from training.siamese.components import APART, Apart, hold_out, hold_out_labelled, queries_in
from training.siamese.near_texts import ROUNDING, encode_once, highest_cosines
from training.siamese.texts import normalised
from training.siamese.types import EncodeTexts, Pair, ScoredPair, Shape, TrainingData

LEAK = "nearly a held-out query"

# Ranked one by one, by the old encoder and the new one; more hardly narrow the interval.
MAX_QUERIES = 2_000
# Of the share asked for; with less, what must be apart is too much for the data.
_ENOUGH = 0.5

T = TypeVar("T", bound=AnyExample)


@dataclass(frozen=True, slots=True)
class Split:
    """apart: what the two have not in common. "document" unless the examples hang together too closely for
    it: neither documents nor passages nor queries; "passage": neither passages nor queries; "query":
    queries only.
    """

    train: TrainingData
    held_out: TrainingData
    apart: Apart = "document"


@dataclass(frozen=True, slots=True)
class ScoredTask:
    """Pairs of texts and how alike they are, 0 to 1: three columns of the same length."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: tuple[float, ...]


def split(data: TrainingData, share: float, seed: int) -> Split:
    """Hold out a share of the queries (of scored pairs and labelled texts: of the examples).

    Pairs that share a group, a query or a positive stay together, over as many links as it takes; scored
    pairs that share a text do. Where fewer than half of the queries asked for can be held out so, as with one
    large document, or passages that were each judged for many queries, the bonds are loosened step by step:
    see `Split.apart`. Labelled texts are held out by the same share of each label, and equal texts stay
    together. At least one query is held out if there are two that can be told apart, and none
    for a share of 0. The same seed and data give the same split.
    """
    held_pairs: list[Pair] = []
    held_scored: list[ScoredPair] = []
    apart = APART[0]
    wanted = share * (queries_in(data.pairs) + queries_in(data.scored))
    for apart in APART:
        held_pairs = hold_out(data.pairs, share, seed, apart)
        held_scored = hold_out(data.scored, share, seed, apart)
        if queries_in(held_pairs) + queries_in(held_scored) >= _ENOUGH * wanted:
            break
    held_labelled = list(hold_out_labelled(data.labelled, share, seed))
    held_out = TrainingData(tuple(held_pairs), tuple(held_scored), tuple(held_labelled), data.corpus)
    return Split(_rest(data, held_out), held_out, apart)


def split_folds(data: TrainingData, count: int, seed: int) -> tuple[Split, ...]:
    """As many parts of about the same number of queries, each held out once while all others train.

    Nothing for one part, and where the examples hang together too closely for so many; see `split`.
    """
    if count < 2:
        return ()
    folds: list[Split] = []
    rest = data
    for left in range(count, 1, -1):
        parts = split(rest, 1 / left, seed + left)
        folds.append(replace(parts, train=_rest(data, parts.held_out)))
        rest = parts.train
    folds.append(Split(_rest(data, rest), rest, folds[-1].apart))
    return tuple(folds) if all(fold.held_out and fold.train for fold in folds) else ()


def part_of(task: RetrievalTask, held_out: TrainingData) -> RetrievalTask:
    """The task with these examples' queries only."""
    wanted = {normalised(pair.query) for pair in held_out.pairs}
    queries = {name: text for name, text in task.queries.items() if normalised(text) in wanted}
    return replace(task, queries=queries, qrels={name: task.qrels[name] for name in queries})


def without_leaks(parts: Split, encode: EncodeTexts, near: float) -> tuple[Split, Removal]:
    """Take training examples out whose query is nearly a held-out one, and tell how many.

    near: cosine from which it is; of scored pairs both texts have to be near those of one held-out pair, in
    either order.
    """
    removed = Removed()
    train, held = parts.train, parts.held_out
    kept = replace(
        train,
        pairs=tuple(_unlike(train.pairs, held.pairs, encode, near, removed)),
        scored=tuple(_unlike(train.scored, held.scored, encode, near, removed)),
        labelled=tuple(_unlike(train.labelled, held.labelled, encode, near, removed)),
    )
    found = removed.removals()
    return replace(parts, train=kept), found[0] if found else Removal(LEAK, 0)


def held_out_task(held_out: TrainingData, train: TrainingData) -> RetrievalTask | ScoredTask:
    """What an encoder is measured on, by the shape of most held-out examples.

    Pairs: find the passages of each query among the corpus, and those that are not in it; without a corpus,
    among all positives and the held-out negatives. A passage counts as one of the corpus also without the
    title line above it. Labelled texts: find those of the same label among the training texts. Scored pairs:
    a `ScoredTask`. Of more than MAX_QUERIES, so many are taken, evenly. Raises InvalidInput without any.
    """
    shape = held_out.shape
    if shape == Shape.SCORED:
        columns = zip(*((pair.first, pair.second, pair.score) for pair in held_out.scored), strict=True)
        return ScoredTask(*columns)
    task = _label_task(held_out, train) if shape == Shape.LABELLED else _pair_task(held_out, train)
    if not task.queries:
        raise InvalidInput(
            "there are too few examples to hold some out",
            field="sources",
            found=f"{len(train)} to train on, {len(held_out)} held out",
            expected="at least two queries about different passages, or two texts of a label",
            next_step="add examples, or have queries written",
        )
    return task


def _rest(data: TrainingData, held: TrainingData) -> TrainingData:
    gone = {id(example) for example in (*held.pairs, *held.scored, *held.labelled)}
    return TrainingData(
        tuple(each for each in data.pairs if id(each) not in gone),
        tuple(each for each in data.scored if id(each) not in gone),
        tuple(each for each in data.labelled if id(each) not in gone),
        data.corpus,
    )


def _unlike(
    train: Sequence[T], held: Sequence[T], encode: EncodeTexts, near: float, removed: Removed
) -> Iterator[T]:
    if not train or not held:
        yield from train
        return
    tested, against = _vectors(train, encode), _vectors(held, encode)
    if isinstance(held[0], ScoredPair):
        # The two texts of a pair have no order.
        against = np.concatenate([against, np.roll(against, against.shape[1] // 2, axis=1)])
    for example, cosine in zip(train, highest_cosines(tested, against), strict=True):
        if cosine >= near - ROUNDING:
            removed.add(LEAK, example)
        else:
            yield example


def _vectors(examples: Sequence[AnyExample], encode: EncodeTexts) -> NDArray[np.float32]:
    """Of queries, of labelled texts, or of both texts of scored pairs side by side; (n, d or 2d) unit."""
    columns = 2 if isinstance(examples[0], ScoredPair) else 1
    vectors = [
        encode_once([sides(example)[side] for example in examples], roles(examples[0])[side], encode)
        for side in range(columns)
    ]
    return np.concatenate(vectors, axis=1) / np.float32(np.sqrt(columns))


def _evenly(count: int) -> list[int]:
    """Numbers of at most MAX_QUERIES out of `count`, evenly spread."""
    return [place * count // min(count, MAX_QUERIES) for place in range(min(count, MAX_QUERIES))]


def _pair_task(held_out: TrainingData, train: TrainingData) -> RetrievalTask:
    texts: dict[str, str] = {}
    positives: dict[str, list[str]] = {}
    for pair in held_out.pairs:
        texts.setdefault(key := normalised(pair.query), pair.query)
        positives.setdefault(key, []).append(pair.positive)
    documents = dict(held_out.corpus) or _given_passages(held_out, train)
    places = _places(documents)
    queries, qrels = {}, {}
    keys = list(texts)
    for number, place in enumerate(_evenly(len(keys))):
        queries[name := f"query {number}"] = texts[keys[place]]
        qrels[name] = {
            document: 1
            for positive in positives[keys[place]]
            for document in _documents_of(positive, documents, places)
        }
    return RetrievalTask("held-out", documents, queries, qrels)


def _given_passages(held_out: TrainingData, train: TrainingData) -> dict[str, str]:
    texts = [pair.positive for pair in (*held_out.pairs, *train.pairs)]
    texts += [text for pair in held_out.pairs for text in pair.negatives]
    unique = {normalised(text): text for text in reversed(texts)}
    return {f"passage {number}": text for number, text in enumerate(reversed(unique.values()))}


def _places(documents: Mapping[str, str]) -> dict[str, list[str]]:
    """Ids of the documents with a text, and with a text under their first line, the title."""
    places: dict[str, list[str]] = {}
    for name, text in documents.items():
        places.setdefault(normalised(text), []).append(name)
    for name, text in documents.items():
        if body := normalised(text.partition("\n")[2]):
            places.setdefault(body, []).append(name)
    return places


def _documents_of(positive: str, documents: dict[str, str], places: dict[str, list[str]]) -> list[str]:
    """Where a positive stands among the documents; it becomes one if it is none."""
    key = normalised(positive)
    if key not in places:
        name = f"example {len(documents)}"
        documents[name] = positive
        places[key] = [name]
    return places[key]


def _label_task(held_out: TrainingData, train: TrainingData) -> RetrievalTask:
    documents = {f"text {number}": each.text for number, each in enumerate(train.labelled)}
    by_label: dict[str, dict[str, int]] = {}
    for name, each in zip(documents, train.labelled, strict=True):
        by_label.setdefault(each.label, {})[name] = 1
    known = [each for each in held_out.labelled if each.label in by_label]
    chosen = {f"query {number}": known[place] for number, place in enumerate(_evenly(len(known)))}
    # Queries of a label share their judgements: a copy each would be as many as texts times queries.
    qrels = {name: by_label[each.label] for name, each in chosen.items()}
    return RetrievalTask("held-out", documents, {name: each.text for name, each in chosen.items()}, qrels)
