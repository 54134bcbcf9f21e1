"""Beam search: which hypotheses go on, and which are the best. The engine owns their slots."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generation.candidates import most_probable
from generation.causal.choosing import adjust_logits
from generation.causal.penalties import TokenHistory
from generation.sampling import SamplingSettings


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A complete answer. token_ids: without the end token, which its score and length do count.

    score: sum of log-probabilities / length ** length_penalty.
    """

    token_ids: tuple[int, ...]
    score: float


@dataclass(frozen=True, slots=True)
class BeamStep:
    """The next tokens, best first. parents: (beams,) the row that each goes on from; tokens: (beams,) ids.

    Where the masks leave fewer continuations than beams the last one is repeated, and counts once.
    """

    parents: NDArray[np.int64]
    tokens: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Beam:
    token_ids: tuple[int, ...]
    log_prob: float
    history: TokenHistory | None


@dataclass(frozen=True, slots=True)
class _Continuation:
    parent: int
    token_id: int
    log_prob: float


class BeamSearch:
    """One request's search, step by step, with the conventions of transformers' generate.

    Of the (1 + number of end tokens) * beams best continuations those that end and stand among the first
    `beams` become hypotheses, and the best others go on. The search is over at max_tokens, or as soon as
    there are as many hypotheses as beams and the best unfinished one, were it to end here, would not beat the
    worst of them (early_stopping=False there). Penalties change the log-probabilities of each beam by its own
    tokens, without renormalising.
    eos: the end tokens. prompt: token ids, for penalties.
    """

    def __init__(self, settings: SamplingSettings, eos: Collection[int], prompt: Sequence[int]) -> None:
        self._settings = settings
        self._eos = frozenset() if settings.ignore_eos else frozenset(eos)
        history = TokenHistory(settings, prompt) if settings.penalised else None
        self._beams = [_Beam((), 0.0, history)]
        self._finished: list[Hypothesis] = []
        self._length = 0

    def step(self, log_probs: NDArray[np.float32]) -> BeamStep | None:
        """Go on by one token; None when the search is over.

        log_probs: (beams, vocabulary), -inf for a token that is not allowed; row i belongs to the i-th beam
        of the step before. At the first step all rows are the same, and the first counts.
        """
        best = self._best_continuations(log_probs)
        self._length += 1
        last = self._length >= self._settings.max_tokens
        for rank, continuation in enumerate(best):
            if rank < self._settings.beams and (last or continuation.token_id in self._eos):
                self._finish(continuation)
        running = [each for each in best if each.token_id not in self._eos][: self._settings.beams]
        if last or not running or not self._may_improve(running[0].log_prob):
            return None
        self._beams = [self._go_on(each) for each in running]
        filled = running + running[-1:] * (self._settings.beams - len(running))
        return BeamStep(
            np.array([each.parent for each in filled]), np.array([each.token_id for each in filled])
        )

    def hypotheses(self) -> list[Hypothesis]:
        """The complete answers, best first; at most as many as beams."""
        return list(self._finished)

    def _best_continuations(self, log_probs: NDArray[np.float32]) -> list[_Continuation]:
        """The best of all beams together, best first; equal ones by beam, then by token id."""
        count = max(2, 1 + len(self._eos)) * self._settings.beams
        found: list[_Continuation] = []
        for parent, beam in enumerate(self._beams):
            scores = adjust_logits(log_probs[parent], self._settings, beam.history, None)
            ids = most_probable(scores, count)
            totals = beam.log_prob + scores[ids].astype(np.float64)
            found += [
                _Continuation(parent, *pair) for pair in zip(ids.tolist(), totals.tolist(), strict=True)
            ]
        return sorted(found, key=lambda each: -each.log_prob)[:count]

    def _go_on(self, continuation: _Continuation) -> _Beam:
        beam = self._beams[continuation.parent]
        history = None if beam.history is None else beam.history.copy()
        if history is not None:
            history.observe(continuation.token_id)
        return _Beam((*beam.token_ids, continuation.token_id), continuation.log_prob, history)

    def _finish(self, continuation: _Continuation) -> None:
        token_ids = self._beams[continuation.parent].token_ids
        if continuation.token_id not in self._eos:
            token_ids = (*token_ids, continuation.token_id)
        self._finished.append(Hypothesis(token_ids, self._score(continuation.log_prob)))
        self._finished.sort(key=lambda hypothesis: -hypothesis.score)
        del self._finished[self._settings.beams :]

    def _may_improve(self, best_log_prob: float) -> bool:
        enough = len(self._finished) == self._settings.beams
        return not enough or self._score(best_log_prob) > self._finished[-1].score

    def _score(self, log_prob: float) -> float:
        return log_prob / math.pow(self._length, self._settings.length_penalty)
