"""Which examples hang together by what they share, and whole such groups held out."""

import random
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from typing import Literal, TypeVar

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from training.siamese.cleaning import AnyExample, sides
from training.siamese.texts import normalised
from training.siamese.types import LabelledText, Pair

# What training and held-out examples have not in common, the strictest first.
Apart = Literal["document", "passage", "query"]
APART: tuple[Apart, ...] = ("document", "passage", "query")

T = TypeVar("T", bound=AnyExample)


def hold_out(examples: Sequence[T], share: float, seed: int, apart: Apart) -> list[T]:
    """Whole components in random order, as many as fit into the share of the queries; the smallest if none
    does, and none at all where everything hangs together.
    """
    components = _components(examples, apart) if share > 0 else []
    if len(components) < 2:
        return []
    random.Random(seed).shuffle(components)
    room = max(1, round(share * queries_in(examples)))
    chosen: list[T] = []
    for component in components:
        if (size := queries_in(component)) <= room:
            chosen += component
            room -= size
    return chosen or min(components, key=queries_in)


def _components(examples: Sequence[T], apart: Apart) -> list[list[T]]:
    """Examples that hang together by what they share, directly or over others."""
    keys: dict[Hashable, int] = {}
    edges = [
        (number, len(examples) + keys.setdefault(key, len(keys)))
        for number, example in enumerate(examples)
        for key in _bonds(example, apart)
    ]
    nodes = len(examples) + len(keys)
    rows, columns = np.array(edges, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(edges), np.int8), (rows, columns)), shape=(nodes, nodes))
    _, names = connected_components(graph, directed=False)
    members: dict[int, list[T]] = defaultdict(list)
    for name, example in zip(names, examples, strict=False):
        members[int(name)].append(example)
    return list(members.values())


def _bonds(example: AnyExample, apart: Apart) -> Iterator[Hashable]:
    query, *other = map(normalised, sides(example))
    if not isinstance(example, Pair):
        yield from [query, *other] if apart != "query" else [query]
        return
    yield "query", query
    if apart != "query":
        yield "passage", *other
    if apart == "document":
        yield "group", example.group


def queries_in(examples: Sequence[AnyExample]) -> int:
    """How many there are to be searched for; scored pairs count each."""
    texts = (sides(each)[0] if isinstance(each, Pair) else sides(each) for each in examples)
    return len(set(texts))


def hold_out_labelled(examples: Sequence[LabelledText], share: float, seed: int) -> Iterator[LabelledText]:
    """The same share of each label, equal texts together; a label never loses its last text."""
    rng = random.Random(seed)
    by_label: dict[str, dict[str, list[LabelledText]]] = defaultdict(lambda: defaultdict(list))
    for example in examples:
        by_label[example.label][normalised(example.text)].append(example)
    owed = 0.0  # what rounding left of the labels before: small ones give one text now and then
    for texts in by_label.values():
        owed = min(owed, 1.0) + share * len(texts)
        taken = min(int(owed + 1e-9), len(texts) - 1)
        owed -= taken
        for equal in rng.sample(list(texts.values()), taken):
            yield from equal
