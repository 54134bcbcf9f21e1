"""Batches of examples: tokens read once, no false negatives side by side, any batch found again by number."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import Tensor

from training.siamese.cpu_training import Features, pack
from training.siamese.examples import BY_LABEL, RANKING, Example

# Texts of one class in a batch, of the losses that compare classes (P x K batches, Hermans et al. 2017).
CLASS_MATES = 4
# Batches whose rows are sorted by length together, for models that need padding.
POOL = 16


class Tokeniser:
    """Token ids of texts, each read once. Queries and passages get the model's own prompts."""

    def __init__(self, model: SentenceTransformer, max_tokens: int) -> None:
        limit = model.max_seq_length or max_tokens
        self._tokenizer = model.tokenizer
        self._max_tokens = min(max_tokens, limit)
        self._prompts = prompts_of(model)
        self._known: dict[tuple[str, int], NDArray[np.int32]] = {}

    def rows(self, texts: Sequence[str], column: int) -> list[NDArray[np.int32]]:
        """Token ids with special tokens, cut at the limit. column: 0 holds queries, others passages."""
        role = min(column, 1)
        new = [text for text in dict.fromkeys(texts) if (text, role) not in self._known]
        if new:
            prompt = self._prompts[role]
            ids = self._tokenizer(
                [prompt + text for text in new], truncation=True, max_length=self._max_tokens
            )["input_ids"]
            for text, row in zip(new, ids, strict=True):
                self._known[text, role] = np.asarray(row, np.int32)
        return [self._known[text, role] for text in texts]


def prompts_of(model: SentenceTransformer) -> tuple[str, str]:
    """What the model wants before queries and before passages; empty for most."""
    prompts = model.prompts or {}
    default = prompts.get(model.default_prompt_name or "") or ""
    passage = prompts.get("passage") or prompts.get("document") or default
    return prompts.get("query") or default, passage


@dataclass(frozen=True, slots=True)
class Batch:
    """columns: features of each column of a loss; labels: (rows,); tokens: in all columns."""

    columns: list[Features]
    labels: Tensor
    tokens: int
    rows: int


class Batches:
    """The batches of a run. The order of an epoch follows from the seed and its number alone.

    name: of the objective; lengths: tokens of each example where rows are padded and so want neighbours of
    their own length, else None.
    """

    def __init__(
        self,
        name: str,
        examples: Sequence[Example],
        size: int,
        seed: int,
        lengths: Sequence[int] | None = None,
    ) -> None:
        self._name = name
        self._examples = examples
        self._size = size
        self._seed = seed
        self._lengths = lengths
        self._made: tuple[int, list[list[int]]] | None = None

    def epoch(self, number: int) -> list[list[int]]:
        """The batches of an epoch, as indices of examples."""
        if self._made is None or self._made[0] != number:
            self._made = number, self._make(number)
        return self._made[1]

    def _make(self, number: int) -> list[list[int]]:
        rng = random.Random(f"{self._seed} {number}")
        order = list(range(len(self._examples)))
        rng.shuffle(order)
        if self._name in BY_LABEL:
            return _by_label(order, [each.label for each in self._examples], self._size, rng)
        if self._lengths is not None:
            order = _length_grouped(order, self._lengths, self._size * POOL)
        if self._name in RANKING:
            batches = list(without_conflicts(order, self._examples, self._size))
        else:
            batches = [order[first : first + self._size] for first in range(0, len(order), self._size)]
        if self._lengths is not None:
            rng.shuffle(batches)
        return batches


def without_conflicts(order: Sequence[int], examples: Sequence[Example], size: int) -> Iterator[list[int]]:
    """Batches in which no example's positive is also right for another's query.

    An example that does not fit into a batch waits for the next ones.
    """
    waiting, rest = list[int](), list(order)[::-1]
    while waiting or rest:
        batch, again = list[int](), list[int]()
        known, positives, queries = set[str](), set[str](), set[str]()
        # Those that waited go first; a batch looks at so many more examples at most.
        looked = 0
        while (waiting or rest) and len(batch) < size and looked < 4 * size:
            index = waiting.pop() if waiting else rest.pop()
            looked += 1
            each = examples[index]
            query, positive = each.texts[:2]
            if query in queries or positive in known or positives & each.known:
                again.append(index)
                continue
            batch.append(index)
            queries.add(query)
            positives.add(positive)
            known |= each.known
        waiting = again[::-1] + waiting
        yield batch


def _length_grouped(order: Sequence[int], lengths: Sequence[int], pool: int) -> list[int]:
    return [
        index
        for first in range(0, len(order), pool)
        for index in sorted(order[first : first + pool], key=lengths.__getitem__)
    ]


def _by_label(
    order: Sequence[int], labels: Sequence[float], size: int, rng: random.Random
) -> list[list[int]]:
    """Batches of a few texts each of many classes. A class of one text gives no pair and is left out."""
    classes: dict[float, list[int]] = {}
    for index in order:
        classes.setdefault(labels[index], []).append(index)
    pieces = [piece for members in classes.values() for piece in _pieces(members)]
    rng.shuffle(pieces)
    batches: list[list[int]] = [[]]
    for piece in pieces:
        if batches[-1] and len(batches[-1]) + len(piece) > size:
            batches.append([])
        batches[-1] += piece
    return [batch for batch in batches if len({labels[index] for index in batch}) > 1]


def _pieces(members: Sequence[int]) -> Iterator[list[int]]:
    for first in range(0, len(members), CLASS_MATES):
        piece = list(members[first : first + CLASS_MATES])
        if len(piece) == 1 and first:
            piece.append(members[first - 1])
        if len(piece) > 1:
            yield piece


def collate(name: str, examples: Sequence[Example], tokeniser: Tokeniser) -> Batch:
    """The columns that the objective's loss takes.

    All negatives of a ranking loss's batch make one column, whatever their number, each of them once and
    none that is right for a query of the batch.
    """
    columns = [list(texts) for texts in zip(*(each.texts for each in examples), strict=True)]
    if name in RANKING:
        right = set[str]().union(*(each.known for each in examples), columns[1])
        negatives = dict.fromkeys(text for each in examples for text in each.negatives)
        if wrong := [text for text in negatives if text not in right]:
            columns.append(wrong)
    rows = [tokeniser.rows(texts, number) for number, texts in enumerate(columns)]
    labels = torch.tensor([each.label for each in examples], dtype=torch.float32)
    tokens = sum(len(row) for column in rows for row in column)
    return Batch([pack(each) for each in rows], labels, tokens, len(examples))
