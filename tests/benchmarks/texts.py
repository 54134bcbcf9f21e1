"""What is encoded: SciFact abstracts and claims, a mix of lengths, and texts of one exact length."""

import gzip
import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from embeddings.artifact import BUNDLED_ENCODER, TOKENIZER
from embeddings.tokens import read_tokenizer
from tests.benchmarks.peer_model import MAX_TOKENS

SHORTEST, LONGEST = 5, 500
SPECIAL_TOKENS = 2
SAMPLE = 32
TUNING = 128
SEED = 20_261_121
Span = tuple[int, int]


class NoData(Exception):
    """The folder of public data is not there."""


@dataclass(frozen=True, slots=True)
class TextSet:
    """Texts under a name. tokens: what a model of 256 tokens sees of them, the same for every encoder."""

    name: str
    texts: tuple[str, ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many texts each set holds."""

    abstracts: int = 512
    queries: int = 1_109
    mix: int = 512
    exact: int = 256
    singles: int = 64


def data_folder() -> Path:
    """The folder of public data. Raises NoData, which says what to set."""
    folder = Path(os.environ.get("FOOTNOTE_DATA", "../shared/data"))
    if not (folder / "scifact").is_dir():
        raise NoData(f"no scifact in {folder}; set FOOTNOTE_DATA to the folder of data sets")
    return folder


def read_sets(folder: Path, sizes: Sizes) -> dict[str, TextSet]:
    """Sets by name: abstracts, queries, mix, exactly 128 or 16 tokens, one to tune on, and a sample."""
    tokenizer = read_tokenizer(BUNDLED_ENCODER / TOKENIZER)
    rows = _read(folder / "scifact" / "corpus.jsonl.gz")
    abstracts = [f"{row['title']} {row['text']}" for row in rows]
    claims = [row["text"] for row in _read(folder / "scifact" / "queries.jsonl.gz")]
    stream = " ".join(abstracts[sizes.abstracts : 4 * sizes.abstracts])
    spans = tokenizer.encode(stream, add_special_tokens=False).offsets
    lengths = draw_lengths(sizes.mix, SEED)
    mix = cut(stream, spans, lengths, SEED)
    named = {
        "abstracts": abstracts[: sizes.abstracts],
        "queries": claims[: sizes.queries],
        "mix": mix,
        "tuning": mix[:TUNING],
        "sample": [*mix[:SAMPLE], *claims[:SAMPLE]],
        "tokens_128": _exact(tokenizer, stream, spans, 128, sizes.exact),
        "tokens_16": _exact(tokenizer, stream, spans, 16, sizes.singles),
    }
    return {name: TextSet(name, tuple(texts), _seen(tokenizer, texts)) for name, texts in named.items()}


def draw_lengths(count: int, seed: int) -> list[int]:
    """Lengths in tokens, evenly spread from 5 to 500, so that half of them are over-long for the model."""
    chance = random.Random(seed)
    return [chance.randint(SHORTEST, LONGEST) for _ in range(count)]


def cut(stream: str, spans: Sequence[Span], lengths: Sequence[int], seed: int) -> list[str]:
    """A piece of the stream for each length, from the beginning of a random word.

    spans: where each token of the stream begins and ends; lengths: in tokens, with the special ones.
    """
    chance = random.Random(seed)
    latest = len(spans) - max(lengths)
    words = [at for at in range(1, latest) if spans[at][0] > spans[at - 1][1]]
    pieces = []
    for length in lengths:
        inner, first = length - SPECIAL_TOKENS, chance.choice(words)
        pieces.append(stream[spans[first][0] : spans[first + inner - 1][1]])
    return pieces


def _exact(tokenizer: Tokenizer, stream: str, spans: Sequence[Span], length: int, count: int) -> list[str]:
    """Pieces of exactly this length: one that ends inside a word may be spelt anew, and is left out."""
    pieces = cut(stream, spans, [length] * (4 * count), SEED + length)
    right = [piece for piece in pieces if len(tokenizer.encode(piece).ids) == length]
    if len(right) < count:
        raise ValueError(f"found {len(right)} texts of {length} tokens, expected {count}")
    return right[:count]


def _seen(tokenizer: Tokenizer, texts: Sequence[str]) -> int:
    encoded = tokenizer.encode_batch_fast(list(texts))
    return sum(min(len(each.ids), MAX_TOKENS) for each in encoded)


def _read(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
