"""Scores of texts for a question: by the reranker, or where none is installed by the encoder."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from anyio import to_thread

from app.overload import Gate
from app.services.encoding import Encoding
from app.services.types import SearchInput, SearchOutput
from embeddings.errors import InvalidInput, TextTooLong
from embeddings.reranker import Scored, sigmoid
from embeddings.stages import timed

T = TypeVar("T")

Scorer = Literal["reranker", "encoder"]
MAX_TEXTS = 1000
# Requests that are scored or wait for it: a later one is better asked again than kept waiting.
MAX_IN_FLIGHT = 16

Search = Callable[[str, SearchInput], Awaitable[SearchOutput]]


class TextReranker(Protocol):
    """What the service asks of a reranker. Thread-safe."""

    @property
    def model_id(self) -> str: ...

    @property
    def max_tokens(self) -> int: ...

    def score_pairs(self, pairs: Sequence[tuple[str, str]], raw: bool = False) -> Scored: ...

    def count_tokens(self, query: str, text: str) -> int: ...

    def cut(self, text: str, max_tokens: int) -> str: ...


@dataclass(frozen=True, slots=True)
class Relevance:
    """scores: in the order of the texts; model: the id of what gave them; truncated: texts that lost their
    end.
    """

    scores: tuple[float, ...]
    scorer: Scorer
    model: str
    tokens: int
    truncated: tuple[bool, ...]


class Reranking:
    """Scores texts with a reranker, one request at a time, each on all the cores that it may use."""

    def __init__(self, reranker: TextReranker | None, encoding: Encoding) -> None:
        self._reranker = reranker
        self._encoding = encoding
        self._turn = asyncio.Lock()
        self._gate = Gate("requests to rerank", MAX_IN_FLIGHT)

    @property
    def in_flight(self) -> int:
        """Requests that are scored by the reranker or wait for it."""
        return self._gate.in_flight

    @property
    def scorer(self) -> Scorer:
        """What scores texts here."""
        return "encoder" if self._reranker is None else "reranker"

    @property
    def model_id(self) -> str:
        """The model that scores texts here."""
        return (self._reranker or self._encoding.encoder).model_id

    @timed("rerank")
    async def relevance(
        self,
        query: str,
        texts: Sequence[str],
        *,
        raw: bool = False,
        truncate: bool = True,
        max_tokens_per_text: int | None = None,
    ) -> Relevance:
        """How well each text answers the query: 0 to 1, or the model's own numbers if `raw`.

        truncate: whether an over-long text may lose its end; max_tokens_per_text: at which it does, where the
        model could take more. Raises TextTooLong and Overloaded.
        """
        if self._reranker is None:
            return await self._cosines(query, texts, raw, truncate)
        with self._gate.place():
            async with self._turn:
                scored = await _to_the_end(
                    to_thread.run_sync(_score, self._reranker, query, texts, max_tokens_per_text)
                )
        if not truncate and any(scored.truncated):
            place = scored.truncated.index(True)
            tokens = await to_thread.run_sync(self._reranker.count_tokens, query, texts[place])
            raise TextTooLong(place, tokens, self._reranker.max_tokens)
        scores = scored.scores if raw else sigmoid(scored.scores)
        return Relevance(
            tuple(scores.tolist()), "reranker", self._reranker.model_id, scored.tokens, scored.truncated
        )

    async def search(self, search: Search, collection: str, wanted: SearchInput) -> SearchOutput:
        """The best candidates of a search in the order of their scores by the reranker.

        Raises InvalidInput without a reranker or for a number of candidates that is out of range, Overloaded,
        and what `search` raises.
        """
        started = time.perf_counter()
        self._check(wanted)
        depth = max(wanted.rerank_candidates, wanted.offset + wanted.limit)
        found = await search(collection, replace(wanted, rerank=False, offset=0, limit=min(depth, MAX_TEXTS)))
        scored = await self.relevance(wanted.query, [hit.text for hit in found.hits])
        hits = [
            replace(hit, score=score, scores=replace(hit.scores, rerank=score))
            for hit, score in zip(found.hits, scored.scores, strict=True)
        ]
        hits.sort(key=lambda hit: -hit.score)  # stable: of equals, the search's order
        shown = tuple(hits[wanted.offset : wanted.offset + wanted.limit])
        return replace(found, hits=shown, took_ms=(time.perf_counter() - started) * 1000)

    def _check(self, wanted: SearchInput) -> None:
        if self._reranker is None:
            raise InvalidInput(
                "no reranker is installed",
                field="rerank",
                found="true",
                expected="false, or a reranker",
                next_step="make one with `footnote models convert SOURCE --kind reranker --output FOLDER`"
                " and set FOOTNOTE_RERANKER to the folder",
            )
        deepest = wanted.offset + wanted.limit
        for field, found in (("rerank_candidates", wanted.rerank_candidates), ("limit", deepest)):
            if not 1 <= found <= MAX_TEXTS:
                what = "offset and limit together" if field == "limit" else field
                raise InvalidInput(
                    f"{what} is {found}; at most {MAX_TEXTS} hits can be reranked",
                    field=field,
                    found=str(found),
                    expected=f"1 to {MAX_TEXTS}",
                )

    async def _cosines(self, query: str, texts: Sequence[str], raw: bool, truncate: bool) -> Relevance:
        asked = await self._encoding.query(query)
        embedded = await self._encoding.embed(texts, prompt="passage", truncate=truncate)
        cosines = (embedded.vectors @ asked.vector).clip(-1.0 if raw else 0.0, 1.0)
        longest = self._encoding.encoder.max_tokens
        tokens = sum(min(count, longest) for count in (asked.token_count, *embedded.token_counts))
        model = self._encoding.encoder.model_id
        return Relevance(tuple(np.asarray(cosines).tolist()), "encoder", model, tokens, embedded.truncated)


async def _to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """The result of work that cannot be stopped: whoever is cancelled keeps his turn until it is done."""
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


def best_first(relevance: Relevance) -> list[int]:
    """Places of the texts by falling score; of equals the earlier first."""
    return sorted(range(len(relevance.scores)), key=lambda place: -relevance.scores[place])


def _score(reranker: TextReranker, query: str, texts: Sequence[str], most: int | None) -> Scored:
    if most is not None and most < reranker.max_tokens:
        texts = [reranker.cut(text, most) for text in texts]
    return reranker.score_pairs([(query, text) for text in texts], True)
