"""What earlier tokens do to the next one's logit."""

from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from generation.sampling import SamplingSettings


class TokenHistory:
    """The tokens of one sequence so far, kept so that each penalty is one vectorised pass over those seen.

    prompt: token ids (n,).
    """

    def __init__(self, settings: SamplingSettings, prompt: Sequence[int]) -> None:
        self._settings = settings
        seen = np.unique(np.asarray(prompt, dtype=np.int64))
        self._places = {token_id: place for place, token_id in enumerate(seen.tolist())}
        self._ids = np.concatenate([seen, np.empty(64, dtype=np.int64)])
        self._counts = np.zeros(self._ids.size, dtype=np.float32)  # times in the answer alone
        self._ngrams = _NgramIndex(settings.no_repeat_ngram, prompt) if settings.no_repeat_ngram else None

    def observe(self, token_id: int) -> None:
        """Take a token of the answer."""
        place = self._places.setdefault(token_id, len(self._places))
        if place == self._ids.size:
            self._ids = np.concatenate([self._ids, np.empty_like(self._ids)])
            self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
        self._ids[place] = token_id
        self._counts[place] += 1
        if self._ngrams is not None:
            self._ngrams.observe(token_id)

    def penalise(self, logits: NDArray[np.float32]) -> None:
        """Lower, in place, the logits (vocabulary,) of tokens that came before.

        A repetition penalty above 1 divides a positive logit and multiplies a negative one, for tokens of
        prompt and answer alike (Keskar et al., CTRL, 2019). The presence penalty is taken off once and the
        frequency penalty for each time, for tokens of the answer (OpenAI's formula).
        """
        settings, size = self._settings, len(self._places)
        ids, counts = self._ids[:size], self._counts[:size]
        values = logits[ids]
        if settings.repetition_penalty != 1.0:
            penalty = np.float32(settings.repetition_penalty)
            values = np.where(values > 0, values / penalty, values * penalty)
        values -= np.float32(settings.frequency_penalty) * counts
        values -= np.float32(settings.presence_penalty) * (counts > 0)
        logits[ids] = values

    def banned(self) -> NDArray[np.int64]:
        """Ids (n,) of the tokens that would complete a run that has been, of `no_repeat_ngram` tokens."""
        following = () if self._ngrams is None else self._ngrams.following()
        return np.fromiter(following, dtype=np.int64)

    def copy(self) -> Self:
        """An independent history that goes on from here, as a beam does when it splits."""
        twin = type(self)(self._settings, ())
        twin._places = dict(self._places)
        twin._ids, twin._counts = self._ids.copy(), self._counts.copy()
        twin._ngrams = None if self._ngrams is None else self._ngrams.copy()
        return twin


class _NgramIndex:
    """What has followed each run of n - 1 tokens."""

    def __init__(self, n: int, token_ids: Iterable[int]) -> None:
        self._n = n
        self._followers: dict[tuple[int, ...], frozenset[int]] = {}
        self._last: tuple[int, ...] = ()
        for token_id in token_ids:
            self.observe(token_id)

    def observe(self, token_id: int) -> None:
        if len(self._last) == self._n - 1:
            self._followers[self._last] = self.following() | {token_id}
        self._last = (*self._last, token_id)[-(self._n - 1) :] if self._n > 1 else ()

    def following(self) -> frozenset[int]:
        return self._followers.get(self._last, frozenset())

    def copy(self) -> "_NgramIndex":
        twin = _NgramIndex(self._n, ())
        twin._followers, twin._last = dict(self._followers), self._last
        return twin
