"""What probably comes next in a sequence: what its constraint forces, what followed the same words before."""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from generation.causal.constraints import Constraint
from generation.causal.lookup import find_continuation

Mask = NDArray[np.bool_]
# Looking further costs a mask a token and will hardly ever be used.
_TOO_UNLIKELY = 0.1


@dataclass(slots=True)
class Draft:
    """Tokens that are guessed, and for each the probability that it is right when those before it are: 1
    where the constraint leaves no choice.
    """

    token_ids: list[int] = field(default_factory=list)
    chances: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.token_ids)

    def add(self, token_id: int, chance: float) -> None:
        self.token_ids.append(token_id)
        self.chances.append(chance)

    def cut(self, length: int) -> "Draft":
        """Its beginning."""
        return Draft(self.token_ids[:length], self.chances[:length])

    def judged(self, accepted: int) -> tuple[int, int]:
        """How many guesses were put to the test, and how many were right, when so many tokens were taken.

        A wrong token hides those behind it; what is forced is no guess.
        """
        tested, right = self.chances[: accepted + 1], self.chances[:accepted]
        return sum(chance < 1 for chance in tested), sum(chance < 1 for chance in right)


class TextGuesses:
    """Guesses from what stands in prompt and answer. token_ids: (n,) of both; guesses: off gives none."""

    def __init__(self, token_ids: NDArray[np.int64], most: int, *, guesses: bool) -> None:
        self._token_ids = token_ids
        self._most = most
        self._guesses = guesses
        self._next: list[int] = []

    def follow(self, draft: Draft) -> int | None:
        """The token that followed the last time the draft's end was written; None when there is no such."""
        if self._guesses and not self._next:
            written = np.concatenate([self._token_ids, np.asarray(draft.token_ids, dtype=np.int64)])
            self._next = find_continuation(written, self._most).tolist()
        return self._next[0] if self._next else None

    def accept(self, token_id: int) -> None:
        """The draft goes on with this one."""
        self._next = self._next[1:] if self._next[:1] == [token_id] else []


class ConstrainedPath:
    """A constraint, and the masks of places that were looked at ahead, each of which is computed once."""

    def __init__(self, constraint: Constraint) -> None:
        self._constraint = constraint
        self._masks: list[Mask | None] = []
        self._guessed: list[int] = []  # between one mask and the next

    @property
    def finished(self) -> bool:
        return self._constraint.finished

    def mask(self) -> Mask | None:
        """(vocabulary,) tokens that may come next; None: all."""
        if not self._masks:
            self._masks = [self._constraint.mask()]
        return self._masks[0]

    def accept(self, token_id: int) -> None:
        """Go on by a token that the mask allows."""
        self._constraint.accept(token_id)
        foreseen = self._guessed[:1] == [token_id]
        self._masks = self._masks[1:] if foreseen else []
        self._guessed = self._guessed[1:] if foreseen else []

    def draft(self, guesses: TextGuesses, most: int, chance: float, ends: Collection[int]) -> Draft:
        """Follow what is forced and, where something is left to choose, the guesses.

        chance: below 1, that a guess is right. ends: tokens before which a draft stops.
        """
        ahead, draft, masks, likely = self._constraint, Draft(), [self.mask()], 1.0
        while len(draft) < most and not ahead.finished:
            token_id, sure = _next(masks[-1], draft, guesses)
            likely *= 1.0 if sure else chance
            if token_id is None or token_id in ends or likely < _TOO_UNLIKELY:
                break
            ahead = ahead if draft else ahead.copy()
            ahead.accept(token_id)
            guesses.accept(token_id)
            draft.add(token_id, 1.0 if sure else chance)
            masks.append(ahead.mask())
        self._masks, self._guessed = masks, list(draft.token_ids)
        return draft


def _next(mask: Mask | None, draft: Draft, guesses: TextGuesses) -> tuple[int | None, bool]:
    """The token to draft, None for none, and whether it alone is allowed."""
    if mask is not None and np.count_nonzero(mask) == 1:
        return int(mask.argmax()), True
    guess = guesses.follow(draft)
    return (None if guess is None or (mask is not None and not mask[guess]) else guess), False
