"""What a store is filled with, what it is asked, and what its adapter has to offer.

Only the standard library and NumPy: every environment imports it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

LIMIT = 10
BUCKETS = 1_000
ALLOWED_BUCKETS = 10  # the filter's: one in a hundred
# The step of `Store.fill` after which all documents are on the disk and found, perhaps slowly.
SEARCHABLE = "searchable"

Effort = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Corpus:
    """texts; vectors: (texts, dimension) unit float32. The id of a document is its position."""

    texts: list[str]
    vectors: NDArray[np.float32]

    @staticmethod
    def read(folder: Path, size: int) -> "Corpus":
        """The first `size` texts and their vectors, which the files hold as float16."""
        texts = json.loads((folder / "texts.json").read_text(encoding="utf-8"))[:size]
        return Corpus(texts, np.load(folder / "vectors.npy", mmap_mode="r")[:size].astype(np.float32))

    def __len__(self) -> int:
        return len(self.texts)

    def bucket(self, i: int) -> int:
        """The metadata field that the filter compares."""
        return i % BUCKETS

    def batches(self, size: int) -> Iterator[range]:
        """Positions, at most `size` at a time."""
        for start in range(0, len(self), size):
            yield range(start, min(len(self), start + size))


@dataclass(frozen=True, slots=True)
class Question:
    """text, and vector: (dimension,) unit float32."""

    text: str
    vector: NDArray[np.float32]

    @staticmethod
    def read(folder: Path) -> "list[Question]":
        texts = json.loads((folder / "queries.json").read_text(encoding="utf-8"))
        return [Question(*each) for each in zip(texts, np.load(folder / "queries.npy"), strict=True)]


class Store(Protocol):
    """One store at a folder. `fill` makes it in one process, `open` and the searches are of another.

    efforts: settings of the dense search, from the quickest to the most thorough; filtered_efforts: the same
    under the filter, none where the store has no filter. finds_words: whether it joins words and meaning.
    A search returns the ids of at most LIMIT documents, best first. A store that keeps texts and metadata
    reads both of each hit.
    """

    efforts: Sequence[Effort]
    filtered_efforts: Sequence[Effort]
    finds_words: bool

    def __init__(self, folder: Path, threads: int, variant: str) -> None: ...

    def fill(self, corpus: Corpus) -> Iterator[str]:
        """Take everything in and leave it on the disk; names each step that is done."""

    def open(self) -> None:
        """Open what `fill` left behind."""

    def dense(self, question: Question, effort: Effort) -> Sequence[int]:
        """The nearest documents."""

    def filtered(self, question: Question, effort: Effort) -> Sequence[int]:
        """The nearest documents of a bucket below ALLOWED_BUCKETS."""

    def hybrid(self, question: Question, effort: Effort) -> Sequence[int]:
        """The best documents by words and meaning."""
