"""Grounded decoding: the decoder may only write what stands in one of its passages.

An answer is a marker that names a passage, then a run of that passage's tokens that begins and ends with
whole words, then the end. The constraint keeps every place where the run written so far stands; its allowed
tokens are those that follow there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from generation.prompt import PassageTokens, Prompt, PromptLayout


@dataclass(frozen=True, slots=True)
class PassageRun:
    """A passage as the constraint walks it. token_ids: (n,); word_starts: (n,), False inside a word."""

    tokens: PassageTokens
    token_ids: NDArray[np.int64]
    word_starts: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SpanCursor:
    """Where a partly written answer may stand.

    ends: token indices in the passage just behind the run, one for each place; scores: log-probability with
    which the decoder copied the run from each place.
    """

    passage: PassageRun
    length: int
    ends: NDArray[np.int64]
    scores: NDArray[np.float64]

    def allowed(self, end_token: int) -> NDArray[np.int64]:
        """Token ids that keep the answer a span of the passage; `end_token` where a whole word ends."""
        passage = self.passage
        inside = self.ends < len(passage.token_ids)
        follow = passage.token_ids[self.ends[inside]]
        if self.length == 0:
            return np.unique(follow[passage.word_starts[self.ends[inside]]])
        whole = ~inside.all() or passage.word_starts[self.ends[inside]].any()
        return np.unique(np.append(follow, end_token) if whole else follow)

    def advance(self, token_id: int, copy_probs: NDArray[np.float32]) -> "SpanCursor":
        """Keep the places where `token_id` comes next; copy_probs: (prompt length or more,), of this
        token.
        """
        inside = self.ends < len(self.passage.token_ids)
        ends, scores = self.ends[inside], self.scores[inside]
        match = self.passage.token_ids[ends] == token_id
        if self.length == 0:
            match &= self.passage.word_starts[ends]
        ends, scores = ends[match], scores[match]
        copied = copy_probs[self.passage.tokens.first + ends].astype(np.float64)
        return replace(self, length=self.length + 1, ends=ends + 1, scores=scores + np.log(copied + 1e-30))

    def following(self, count: int) -> tuple[int, ...]:
        """At most `count` tokens that come next at the likeliest place."""
        place = int(self.ends[np.argmax(self.scores)])
        return tuple(self.passage.token_ids[place : place + count].tolist())

    def span(self) -> tuple[int, int]:
        """`[start, end)` of the likeliest place, in code points of the passage's text; (0, 0) before the
        first token.
        """
        if self.length == 0:
            return 0, 0
        end = int(self.ends[np.argmax(self.scores)])
        offsets = self.passage.tokens.offsets
        return int(offsets[end - self.length, 0]), int(offsets[end - 1, 1])


def passage_runs(prompt: Prompt, word_ids: Sequence[Sequence[int | None]]) -> list[PassageRun]:
    """The prompt's passages. word_ids: for each passage, the word that each token belongs to."""
    runs = []
    for tokens, words in zip(prompt.passages, word_ids, strict=True):
        count = len(tokens.offsets)
        starts = np.asarray([i == 0 or words[i] != words[i - 1] for i in range(count)], dtype=np.bool_)
        runs.append(PassageRun(tokens, prompt.token_ids[tokens.first : tokens.first + count], starts))
    return runs


def open_cursor(run: PassageRun) -> SpanCursor:
    """A cursor before the first token: the answer may begin at any word."""
    places = np.arange(len(run.token_ids), dtype=np.int64)
    return SpanCursor(run, 0, places, np.zeros(len(places)))


def mask_except(log_probs: NDArray[np.float32], allowed: NDArray[np.int64]) -> NDArray[np.float32]:
    """(vocabulary,) -> (vocabulary,) with -inf everywhere but at `allowed`."""
    masked = np.full_like(log_probs, -np.inf)
    masked[allowed] = log_probs[allowed]
    return masked


def answer_logit(log_probs: NDArray[np.float32], layout: PromptLayout, passages: int) -> float:
    """Log odds of answering against refusing, from the first token's distribution over markers and
    refusal.
    """
    markers = log_probs[list(layout.passage_tokens[:passages])].astype(np.float64)
    return float(np.logaddexp.reduce(markers) - log_probs[layout.refuse])
