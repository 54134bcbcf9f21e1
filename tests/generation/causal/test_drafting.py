"""Guesses under a constraint: what is forced and what was written before, one after the other."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from generation.causal.drafting import ConstrainedPath, Draft, TextGuesses

VOCABULARY = 20


class Script:
    """A `Constraint` with a list of the tokens that are allowed at each place. asked: places of masks."""

    def __init__(self, allowed: Sequence[Sequence[int]], asked: list[int], place: int = 0) -> None:
        self._allowed = allowed
        self.asked = asked
        self.place = place

    @property
    def finished(self) -> bool:
        return self.place >= len(self._allowed)

    def mask(self) -> NDArray[np.bool_]:
        self.asked.append(self.place)
        mask = np.zeros(VOCABULARY, dtype=np.bool_)
        mask[list(self._allowed[self.place]) if not self.finished else []] = True
        return mask

    def accept(self, token_id: int) -> None:
        if token_id not in self._allowed[self.place]:
            raise ValueError(token_id)
        self.place += 1

    def copy(self) -> "Script":
        return Script(self._allowed, self.asked, self.place)


def guesses(*token_ids: int, on: bool = True) -> TextGuesses:
    return TextGuesses(np.asarray(token_ids, dtype=np.int64), 8, guesses=on)


# 1 2 3 4 5 was written before, and 1 2 has just been written again.
WRITTEN = (1, 2, 3, 4, 5, 9, 1, 2)


def test_draft_follows_forced_tokens_and_guesses_in_turn() -> None:
    path = ConstrainedPath(Script([[3, 7], [4], [5, 8], [6], [1, 2]], []))
    draft = path.draft(guesses(*WRITTEN), most=8, chance=0.8, ends=())
    assert draft.token_ids == [3, 4, 5, 6]
    assert draft.chances == [0.8, 1.0, 0.8, 1.0]


def test_without_guesses_only_what_is_forced_is_drafted() -> None:
    path = ConstrainedPath(Script([[3], [4], [5, 8], [6]], []))
    assert path.draft(guesses(*WRITTEN, on=False), most=8, chance=0.8, ends=()).token_ids == [3, 4]


def test_guess_that_the_constraint_forbids_ends_the_draft() -> None:
    path = ConstrainedPath(Script([[3, 7], [6, 8]], []))
    assert path.draft(guesses(*WRITTEN), most=8, chance=0.8, ends=()).token_ids == [3]


@pytest.mark.parametrize(
    ("most", "chance", "ends", "expected"),
    [
        (2, 0.8, (), [3, 4]),  # no longer than there is room
        (8, 0.8, (4,), [3]),  # an end is chosen, not drafted
        (8, 0.2, (), [3]),  # two such guesses after another are hardly ever right
        (8, 0.05, (), []),
    ],
)
def test_draft_stops_where_it_is_of_no_use(
    most: int, chance: float, ends: tuple[int, ...], expected: list[int]
) -> None:
    path = ConstrainedPath(Script([[3, 7]] + [[4, 7]] + [[5, 7]] * 3, []))
    assert path.draft(guesses(*WRITTEN), most, chance, ends).token_ids == expected


def test_mask_is_computed_once_for_each_place_that_is_reached() -> None:
    script = Script([[3, 7], [4], [5, 8], [6, 9]], [])
    path = ConstrainedPath(script)
    path.draft(guesses(*WRITTEN), most=3, chance=0.8, ends=())
    for token_id in (3, 4, 5):
        found = path.mask()
        assert found is not None
        assert found[token_id]
        path.accept(token_id)
    assert np.flatnonzero(path.mask()).tolist() == [6, 9]
    assert script.asked == [0, 1, 2, 3]


def test_masks_behind_a_wrong_guess_are_forgotten() -> None:
    path = ConstrainedPath(Script([[3, 7], [4, 9], [5]], []))
    path.draft(guesses(*WRITTEN), most=2, chance=0.8, ends=())
    path.mask()
    path.accept(7)
    assert np.flatnonzero(path.mask()).tolist() == [4, 9]
    path.accept(9)
    assert np.flatnonzero(path.mask()).tolist() == [5]


def test_only_guesses_are_judged() -> None:
    draft = Draft([1, 2, 3, 4], [1.0, 0.8, 1.0, 0.8])
    assert draft.judged(accepted=4) == (2, 2)
    assert draft.judged(accepted=3) == (2, 1)
    assert draft.judged(accepted=1) == (1, 0)
    assert draft.judged(accepted=0) == (0, 0)
