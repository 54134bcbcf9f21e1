"""SciFact's abstracts and claims for the services, and what a good answer holds: so that nobody is quick by
answering badly.

Each text is cut to what is one chunk for Footnote and no more than the peers' encoders see.
"""

import csv
import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tests.benchmarks.stores_truth import exact_nearest
from tests.benchmarks.texts import data_folder

MOST_TOKENS = 190
LIMIT = 10
BATCH = 32
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Abstracts:
    """Documents with ids, and queries, those with known right documents first.

    relevant: positions in `ids` of the right documents of the first queries.
    """

    ids: list[str]
    texts: list[str]
    queries: list[str]
    relevant: list[set[int]]


def load_abstracts(count: int, tokenizer: Tokenizer) -> Abstracts:
    """The first `count` abstracts of SciFact, and all its claims. Raises NoData without the public data."""
    folder = data_folder() / "scifact"
    rows = list(_rows(folder / "corpus.jsonl.gz"))[:count]
    ids = [row["_id"] for row in rows]
    texts = [cut(f"{row['title']} {row['text']}", tokenizer) for row in rows]
    claims = {row["_id"]: row["text"] for row in _rows(folder / "queries.jsonl.gz")}
    return arrange(ids, texts, claims, dict(_judgements(folder / "qrels")))


def arrange(
    ids: list[str], texts: list[str], claims: Mapping[str, str], judged: Mapping[str, set[str]]
) -> Abstracts:
    """Claims whose right documents are all there come first; judged: ids of them by id of the claim."""
    position = {id_: number for number, id_ in enumerate(ids)}
    whole = {claim: right for claim, right in judged.items() if right and right <= position.keys()}
    first = [claim for claim in claims if claim in whole]
    others = [claim for claim in claims if claim not in whole]
    relevant = [{position[id_] for id_ in whole[claim]} for claim in first]
    return Abstracts(ids, texts, [claims[claim] for claim in (*first, *others)], relevant)


def cut(text: str, tokenizer: Tokenizer, most: int = MOST_TOKENS) -> str:
    """The text up to the end of its last token of so many, special ones not counted."""
    spans = tokenizer.encode(text, add_special_tokens=False).offsets
    return text if len(spans) <= most else text[: spans[most - 1][1]]


def exact_answers(abstracts: Abstracts, count: int, model: Path, kept: Path) -> list[list[int]]:
    """Positions of the nearest ten to each of the first `count` queries, by vectors of the fp32 graph.

    model: the folder of make_peer_model; kept: a folder for the vectors, which take minutes.
    """
    vectors = _kept_vectors(abstracts.texts, model, kept)
    queries = encode(abstracts.queries[:count], model)
    everything = np.ones(len(vectors), np.bool_)
    return exact_nearest(vectors.astype(np.float16), queries, LIMIT, everything)


def _kept_vectors(texts: Sequence[str], model: Path, kept: Path) -> Vectors:
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    path = kept / f"vectors-{digest}.npy"
    if not path.is_file():
        kept.mkdir(parents=True, exist_ok=True)
        np.save(path, encode(texts, model))
    found: Vectors = np.load(path)
    return found


def encode(texts: Sequence[str], model: Path) -> Vectors:
    """Unit means of the token states (texts, dimension), as sentence-transformers computes them."""
    graph = onnxruntime.InferenceSession(model / "fp32" / "model.onnx", providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(model / "fp32" / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    rows = [np.empty((0, 0), np.float32)] * len(texts)
    for start in range(0, len(order), BATCH):
        numbers = order[start : start + BATCH]
        means = _means(graph, tokenizer, [texts[number] for number in numbers])
        for number, row in zip(numbers, means, strict=True):
            rows[number] = row
    return np.stack(rows)


def _means(graph: onnxruntime.InferenceSession, tokenizer: Tokenizer, texts: list[str]) -> Vectors:
    encoded = tokenizer.encode_batch(texts)
    ids, mask = (np.array([getattr(each, name) for each in encoded]) for name in ("ids", "attention_mask"))
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    states = graph.run(None, inputs)[0]
    sums: Vectors = (states * mask[:, :, None]).sum(axis=1).astype(np.float32)
    rows: Vectors = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return rows


def judged_recall(found: Sequence[Sequence[int]], relevant: Sequence[set[int]]) -> float | None:
    """Mean share of the right documents among those found, over the judged queries; None without any."""
    shares = [len(set(mine) & right) / len(right) for mine, right in zip(found, relevant, strict=False)]
    return sum(shares) / len(shares) if shares else None


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _judgements(folder: Path) -> Iterator[tuple[str, set[str]]]:
    """Ids of right documents by id of the claim, of all splits."""
    judged: dict[str, set[str]] = {}
    for path in sorted(folder.glob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines, delimiter="\t"):
                if int(row["score"]) > 0:
                    judged.setdefault(row["query-id"], set()).add(row["corpus-id"])
    yield from judged.items()
