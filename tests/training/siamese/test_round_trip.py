import numpy as np

from tests.training.siamese.word_vectors import encode_words, silent
from training.siamese.drafts import Draft, read_passage
from training.siamese.round_trip import found_again

CORPUS = {
    "a#0": "Nickel alloys corrode in hot gases. Sulphur weakens them.",
    "b#0": "The castle was built of stone by the king.",
    "c#0": "The lift of thin wings grows with their speed.",
}


def draft(passage: str, query: str, positive: str | None = None) -> Draft:
    return Draft(read_passage(passage, CORPUS[passage]), query, positive or CORPUS[passage], "sentences")


def found(*drafts: Draft, within: int = 1) -> tuple[list[bool], list[bool]]:
    again, repeated = found_again(drafts, CORPUS, within, encode_words, silent, seed=1)
    return again.tolist(), repeated.tolist()


def test_queries_that_find_another_passage_are_told() -> None:
    right, wrong = draft("a#0", "corrosion of nickel alloys"), draft("a#0", "the king of the castle")
    assert found(right, wrong)[0] == [True, False]
    assert found(wrong, within=3)[0] == [True]


def test_a_positive_is_judged_without_the_words_that_were_taken_out() -> None:
    taken_out = draft("a#0", "lift of alloys that sulphur weakens", "Hot gases corrode.")
    assert found(draft("a#0", "lift of alloys that sulphur weakens"), taken_out)[0] == [True, False]


def test_only_later_ones_of_equal_queries_are_repeats() -> None:
    queries = [draft("a#0", "nickel alloys"), draft("b#0", "stone castle"), draft("a#0", "Nickel alloys")]
    assert found(*queries)[1] == [False, False, True]


def test_found_flags_have_the_order_of_the_drafts() -> None:
    many = [draft("b#0", "the castle of stone"), draft("c#0", "stone castle of the king")] * 3
    again, _ = found_again(many, CORPUS, 1, encode_words, silent, seed=1)
    np.testing.assert_array_equal(again, [True, False] * 3)
