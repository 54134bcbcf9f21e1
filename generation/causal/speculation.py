"""How many tokens of a guess to verify in one pass: what they may bring against what the pass costs."""

from collections.abc import Sequence
from itertools import accumulate
from operator import mul

# Lengths that are tried; few, so that the cost of each gets measured.
DRAFT_LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16)

_MEMORY = 0.9  # of the running averages
_HOPE = 0.7  # share of guessed tokens that are right, before anything is known
_FORGETTING = 0.02  # of the way back to that hope, at each token without a guess


class PassCosts:
    """Seconds that a pass of so many rows and tokens takes, as measured by the passes before.

    A shape that was never run is taken for cheap, so that it is tried: as a pass of one token, and a tenth of
    that more for each further one (measured in int8: 1.65 times for 5 tokens, 2.15 for 17).
    """

    def __init__(self) -> None:
        self._seconds: dict[tuple[int, int], float] = {}

    def record(self, rows: int, tokens: int, seconds: float) -> None:
        """Add a measurement. Outliers count little: something else had the processor.

        Not even the first may count much, or a length that fared badly once would never be tried again.
        """
        expected = self.estimate(rows, tokens)
        if expected is not None:
            seconds = min(seconds, 2 * expected)
        known = self._seconds.get((rows, tokens), seconds)
        self._seconds[rows, tokens] = _MEMORY * known + (1 - _MEMORY) * seconds

    def estimate(self, rows: int, tokens: int) -> float | None:
        """None while nothing like it was measured."""
        known = self._seconds.get((rows, tokens))
        if known is not None or tokens == 1:
            return known
        one = self._seconds.get((rows, 1))
        return None if one is None else one * (1 + 0.1 * (tokens - 1))


class Acceptance:
    """How the guesses for one sequence did so far."""

    def __init__(self) -> None:
        self.share = _HOPE

    def observe(self, drafted: int, accepted: int) -> None:
        """Learn from a verification. A wrong token hides those behind it, so they say nothing."""
        judged = min(drafted, accepted + 1)
        weight = 1 - _MEMORY**judged
        self.share += weight * (accepted / judged - self.share)

    def forget(self) -> None:
        """Once a token without a guess: what was bad luck at one place may be good at another."""
        self.share += _FORGETTING * (_HOPE - self.share)


def choose_draft_length(costs: PassCosts, rows: int, chances: Sequence[float]) -> int:
    """Tokens to verify of the guessed ones; 0: decode one token together with the others.

    rows: of the pass that the sequence would share otherwise. Verification is a pass of its own: ONNX
    Runtime's attention takes several tokens for one row only. So it has to bring more tokens a second than
    the shared pass does for all its rows. chances: for each guessed token the probability that it is right,
    given those before it; 1 for tokens that a constraint forces.
    """
    shared = costs.estimate(rows, 1)
    if shared is None:
        return 0
    best, best_rate = 0, rows / shared
    for length in DRAFT_LENGTHS:
        cost = costs.estimate(1, length + 1)
        if length > len(chances) or cost is None:
            break
        rate = expected_tokens(chances[:length]) / cost
        if rate > best_rate:
            best, best_rate = length, rate
    return best


def expected_tokens(chances: Sequence[float]) -> float:
    """Tokens that a verification brings: the right ones and the model's own after them."""
    return sum(accumulate(chances, mul), start=1.0)
