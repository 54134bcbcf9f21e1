"""A question and texts in, a relevance for each text out: a cross-encoder with ONNX Runtime."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from embeddings.artifact import GOLDEN, TOKENIZER, ModelManifest, RerankerSpec, load_manifest
from embeddings.batching import token_budget_batches
from embeddings.errors import ModelDamaged
from embeddings.golden import GoldenVectors, first_faithful
from embeddings.sessions import SessionOpener, open_session
from embeddings.tokens import read_tokenizer, without_surrogates
from embeddings.vectors import unit_rows

Scores = NDArray[np.float32]

# Rows times longest row of one run: pairs are longer than texts, and four of them fill what an encoder's
# batch holds.
BATCH_TOKENS = 1_024


@dataclass(frozen=True, slots=True)
class TokenizedPair:
    """What the graph is given of a question and a text.

    ids, segments: with special tokens, cut to the model's length, segments 0 for the question and 1 for the
    text; truncated: the text lost its end.
    """

    ids: list[int]
    segments: list[int]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Scored:
    """scores: (n,), the model's own numbers, or 0 to 1 after a sigmoid; tokens: that the model read;
    truncated: texts of which it saw only the beginning.
    """

    scores: Scores
    tokens: int
    truncated: tuple[bool, ...]


class Reranker:
    """A cross-encoder session. Safe to share between threads: nothing changes after load."""

    def __init__(self, session: Any, tokenizer: Tokenizer, manifest: ModelManifest, threads: int = 1) -> None:
        if manifest.reranker is None:
            raise ValueError("the manifest has no `reranker` section")
        self._session = session
        self._threads = threads
        self._tokenizer = tokenizer
        self.spec: RerankerSpec = manifest.reranker
        self.manifest = manifest
        self._pairs = Tokenizer.from_str(tokenizer.to_str())
        self._pairs.enable_truncation(self.spec.max_tokens, strategy="only_second")

    @classmethod
    def load(cls, directory: Path, threads: int = 1, opener: SessionOpener = open_session) -> Self:
        """Open a verified artifact directory and check what it gives against its golden scores.

        threads: runs of the graph that `score` keeps going at once, one a core; opener: what opens the
        graph.
        Raises ModelDamaged when a file differs from the manifest, the artifact is not a reranker, or this
        processor gives other scores.
        """
        manifest = load_manifest(directory)
        if manifest.reranker is None:
            raise ModelDamaged(
                f"{directory} holds no reranker",
                found=f"a manifest of kind {manifest.kind!r} without a `reranker` section",
                expected="a reranker's manifest",
                next_step="convert one with `footnote models convert SOURCE --kind reranker`",
            )
        path = directory / manifest.weights

        tokenizer = read_tokenizer(directory / TOKENIZER)
        if GOLDEN not in manifest.files:  # nothing tells whether the usual products are right
            return cls(opener(path, True), tokenizer, manifest, threads)
        faithful = first_faithful(
            GoldenVectors.read(directory),
            directory,
            lambda exact: GoldenPairs(cls(opener(path, exact), tokenizer, manifest, threads)),
        )
        return faithful.reranker

    @property
    def model_id(self) -> str:
        return self.manifest.model_id

    @property
    def max_tokens(self) -> int:
        return self.spec.max_tokens

    def score(self, query: str, texts: Sequence[str], raw: bool = False) -> Scores:
        """How well each text answers the query, (len(texts),): 0 to 1, or the model's own number if `raw`.

        A text loses its end where the pair is too long for the model; the query does only where it alone
        would take more than half of the model's length.
        """
        return self.score_pairs([(query, text) for text in texts], raw).scores

    def score_pairs(self, pairs: Sequence[tuple[str, str]], raw: bool = False) -> Scored:
        """The same for pairs of a query and a text, with what became of the texts."""
        tokenized = self.tokenize(pairs)
        scores = np.empty(len(pairs), dtype=np.float32)

        def run(positions: list[int]) -> None:
            scores[positions] = self.run([tokenized[position] for position in positions])

        lengths = [len(pair.ids) for pair in tokenized]
        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(run, token_budget_batches(lengths, BATCH_TOKENS)))
        truncated = tuple(pair.truncated for pair in tokenized)
        return Scored(scores if raw else sigmoid(scores), sum(lengths), truncated)

    def tokenize(self, pairs: Sequence[tuple[str, str]]) -> list[TokenizedPair]:
        """What the graph gets to see of each pair."""
        queries = {query: self._shortened(query) for query, _ in pairs}
        given = [(queries[query], without_surrogates(text)) for query, text in pairs]
        return [_tokenized(encoding) for encoding in self._pairs.encode_batch(given)]

    def count_tokens(self, query: str, text: str) -> int:
        """Tokens of a pair with the special ones, before the text is cut."""
        return len(self._tokenizer.encode(self._shortened(query), without_surrogates(text)).ids)

    def run(self, batch: Sequence[TokenizedPair]) -> Scores:
        """The model's own numbers, (len(batch),), by one run of the graph without the GIL."""
        shape = (len(batch), max(len(pair.ids) for pair in batch))
        feed = {name: np.zeros(shape, dtype=np.int64) for name in graph_inputs(self.spec)}
        for row, pair in enumerate(batch):
            feed["input_ids"][row, : len(pair.ids)] = pair.ids
            feed["attention_mask"][row, : len(pair.ids)] = 1
            if self.spec.segments:
                feed["token_type_ids"][row, : len(pair.ids)] = pair.segments
        scores: Scores = self._session.run(None, feed)[0]
        return scores

    def cut(self, text: str, max_tokens: int) -> str:
        """The beginning of a text that has at most max_tokens tokens, special ones not counted."""
        text = without_surrogates(text)
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return text if len(offsets) <= max_tokens else text[: offsets[max_tokens - 1][1]]

    def _shortened(self, query: str) -> str:
        """The query, cut where half of the model's length is full: the text has to have its place."""
        return self.cut(query, self.spec.max_tokens // 2)


R = TypeVar("R", bound=Reranker)


class GoldenPairs(Generic[R]):
    """A reranker as golden vectors look at it: its scores of pairs of their texts are one vector."""

    def __init__(self, reranker: R) -> None:
        self.reranker = reranker

    def encode(self, texts: Sequence[str], _prompt: str) -> Scores:
        """A unit row (1, 2n): each text as the question for itself and for the next one.

        The mean is taken off, as it is the differences that rank.
        """
        following = [*texts[1:], *texts[:1]]
        pairs = [*zip(texts, texts, strict=True), *zip(texts, following, strict=True)]
        scores = self.reranker.score_pairs(pairs, raw=True).scores
        return unit_rows((scores - scores.mean())[None])


def graph_inputs(spec: RerankerSpec) -> tuple[str, ...]:
    """Names of the graph's inputs, each (B, S) int64."""
    names = ("input_ids", "attention_mask")
    return (*names, "token_type_ids") if spec.segments else names


def sigmoid(scores: Scores) -> Scores:
    """Numbers of any size to 0 to 1, without overflow."""
    positive: Scores = np.exp(-np.logaddexp(np.float32(0), -scores)).astype(np.float32)
    return positive


def _tokenized(encoding: Encoding) -> TokenizedPair:
    return TokenizedPair(encoding.ids, encoding.type_ids, bool(encoding.overflowing))
