"""How the next token is chosen, and where an answer stops."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import InvalidInput

MAX_TOKENS_LIMIT = 1024
MAX_STOP_SEQUENCES = 16


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """The strategy of one request; the default is greedy.

    temperature: 0 is greedy; above 0 divides the log-probabilities before sampling, at most 2.
    top_k: keep the k most probable tokens; 0 is off. top_p: keep the smallest set with at least this mass; 1
    is off. seed: of the request's own random generator; None draws a fresh one. max_tokens: decode at most
    this many. stop: texts that end the answer and are not part of it. Raises InvalidInput for a value out of
    range.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    max_tokens: int = 64
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_number("temperature", self.temperature, 0.0 <= self.temperature <= 2.0, "a number from 0 to 2")
        _check_number("top_k", self.top_k, self.top_k >= 0, "a whole number, 0 (off) or above")
        _check_number("top_p", self.top_p, 0.0 < self.top_p <= 1.0, "a number above 0, at most 1 (off)")
        _check_number(
            "seed",
            self.seed,
            self.seed is None or 0 <= self.seed < 2**63,
            "a whole number from 0 to 2^63 - 1",
        )
        in_range = 1 <= self.max_tokens <= MAX_TOKENS_LIMIT
        _check_number("max_tokens", self.max_tokens, in_range, f"a whole number from 1 to {MAX_TOKENS_LIMIT}")
        _check_stop(self.stop)

    @property
    def greedy(self) -> bool:
        return self.temperature == 0.0

    def generator(self) -> np.random.Generator:
        """The request's own random generator."""
        return np.random.default_rng(self.seed)


def _check_number(field: str, found: object, valid: bool, expected: str) -> None:
    if not valid:
        raise InvalidInput(
            f"{field} is {found}, expected {expected}", field=field, found=str(found), expected=expected
        )


def _check_stop(stop: tuple[str, ...]) -> None:
    expected = f"at most {MAX_STOP_SEQUENCES} texts, none of them empty"
    if len(stop) > MAX_STOP_SEQUENCES or "" in stop:
        raise InvalidInput(
            f"stop is {list(stop)!r:.200}, expected {expected}",
            field="stop",
            found=repr(stop)[:200],
            expected=expected,
        )


def choose_token(log_probs: NDArray[np.float32], settings: SamplingSettings, rng: np.random.Generator) -> int:
    """Choose the id of the next token: temperature, then top-k, then top-p, then a draw.

    log_probs: (vocab,) log-probabilities; an entry of -inf is never chosen. Greedy ties go to the lowest id.
    Raises ValueError when no entry is finite.
    Source of top-p (nucleus): Holtzman et al., ICLR 2020.
    """
    best = int(np.argmax(log_probs))
    if not np.isfinite(log_probs[best]):
        raise ValueError(
            f"none of {log_probs.size} tokens is allowed, expected at least one finite log-probability"
        )
    if settings.greedy:
        return best
    ids, probabilities = candidate_distribution(log_probs, settings)
    return int(rng.choice(ids, p=probabilities))


def candidate_distribution(
    log_probs: NDArray[np.float32], settings: SamplingSettings
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The tokens that a draw may choose, most probable first, and their probabilities.

    log_probs: (vocab,). Returns ids (n,) and probabilities (n,) that sum to 1; equal ones stand by ascending
    id.
    """
    ids = np.argsort(-log_probs, kind="stable")
    ids = ids[np.isfinite(log_probs[ids])]
    if settings.top_k:
        ids = ids[: settings.top_k]
    below_best = log_probs[ids].astype(np.float64) - log_probs[ids[0]]
    with np.errstate(over="ignore"):  # a temperature near 0 sends the others to -inf, which is what it means
        probabilities = np.exp(below_best / settings.temperature)
    probabilities /= probabilities.sum()
    if settings.top_p < 1.0:
        before = np.cumsum(probabilities) - probabilities
        probabilities = probabilities[before < settings.top_p]
        ids = ids[: probabilities.size]
        probabilities /= probabilities.sum()
    return ids, probabilities


class StopMatcher:
    """Cuts a stream of text before the first stop sequence, however the pieces fall.

    Text that may be the beginning of a stop sequence is held back until it is known, so that no part of one
    is ever streamed. Of several sequences the one that is complete first counts.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = stop
        self._held = ""
        self.stopped = False

    def push(self, piece: str) -> str:
        """Take the next piece of text and return what may be streamed now; nothing once stopped."""
        if self.stopped:
            return ""
        self._held += piece
        found = [(start + len(stop), start) for stop in self._stop if (start := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self._release(min(found)[1], forget=True)
        return self._release(len(self._held) - self._partial_length())

    def flush(self) -> str:
        """Return what is held back, at the end of the text."""
        return self._release(len(self._held))

    def _partial_length(self) -> int:
        """Length of the longest end of the held text that begins a stop sequence."""
        longest = max((len(stop) - 1 for stop in self._stop), default=0)
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stop):
                return length
        return 0

    def _release(self, length: int, *, forget: bool = False) -> str:
        released, rest = self._held[:length], self._held[length:]
        self._held = "" if forget else rest
        return released
