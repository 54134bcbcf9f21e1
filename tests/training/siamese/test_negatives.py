import numpy as np
import pytest

from tests.training.siamese.word_vectors import silent
from training.siamese.negatives import MiningReport, mine_negatives
from training.siamese.plan import Negatives
from training.siamese.types import Origin, Pair

# Cosine of each passage with every query.
COSINES = {"gold": 0.8, "rival": 0.79, "hard": 0.7, "soft": 0.4, "other": 0.1, "Gold  ": 0.8}
CORPUS = {f"document {i}#0": text for i, text in enumerate(COSINES)}
PAIR = Pair("a question", "gold", "document 0")


def encode(texts, role):
    cosines = np.array([1.0 if role == "query" else COSINES.get(text, 0.5) for text in texts])
    return np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1).astype(np.float32)


def mine(*pairs: Pair, corpus=CORPUS, **settings) -> tuple[tuple[Pair, ...], MiningReport]:
    reports: list[MiningReport] = []
    mined = mine_negatives(pairs, corpus, encode, Negatives(**settings), silent, reports.append)
    return mined, reports[0]


def test_hardest_passage_below_the_margin_is_taken() -> None:
    (pair,), report = mine(PAIR, count=1)
    assert pair.negatives == ("hard",)
    assert report == MiningReport(pairs=1, negatives=1, known=2, close=1, short=0)


def test_margin_is_a_share_of_the_positives_cosine() -> None:
    assert mine(PAIR, count=1, relative_margin=0.0)[0][0].negatives == ("rival",)
    assert mine(PAIR, count=1, relative_margin=0.3)[0][0].negatives == ("soft",)


def test_negatives_are_hardest_first_and_as_many_as_there_are() -> None:
    (pair,), report = mine(PAIR, count=9)
    assert pair.negatives == ("hard", "soft", "other")
    assert report.short == 1


def test_other_answers_to_the_same_question_are_no_negatives() -> None:
    pairs, _ = mine(PAIR, Pair("A  question", "hard", "document 2"), count=1)
    assert [pair.negatives for pair in pairs] == [("soft",), ("soft",)]


def test_a_passage_that_holds_the_answer_is_no_negative() -> None:
    corpus = {**CORPUS, "document 9#0": "text with the whole answer in it"}
    (pair,), _ = mine(Pair("a question", "with the whole answer", "document 9"), corpus=corpus, count=1)
    assert pair.negatives == ("soft",)


def test_a_word_for_an_answer_rules_no_passage_out() -> None:
    corpus = {**CORPUS, "document 9#0": "golden but wrong"}
    assert mine(PAIR, corpus=corpus, count=9)[0][0].negatives[1] == "golden but wrong"


@pytest.mark.parametrize(("origin", "expected"), [(Origin.SYNTHETIC, "soft"), (Origin.UPLOADED, "hard")])
def test_documents_of_written_queries_give_them_no_negatives(origin: Origin, expected: str) -> None:
    (pair,), _ = mine(Pair("a question", "gold", "document 2", origin), count=1)
    assert pair.negatives == (expected,)


def test_given_negatives_stay_in_front_and_are_not_taken_twice() -> None:
    (pair,), report = mine(Pair("a question", "gold", "document 0", negatives=("given", "hard")), count=3)
    assert pair.negatives == ("given", "hard", "soft")
    assert report.negatives == 1


def test_negatives_beyond_the_depth_are_not_looked_for() -> None:
    assert mine(PAIR, count=1, depth=3)[0][0].negatives == ()


def test_without_a_corpus_other_pairs_positives_are_searched() -> None:
    pairs, _ = mine(PAIR, Pair("another", "soft", "x"), Pair("a third", "other", "y"), corpus={}, count=1)
    assert pairs[0].negatives == ("soft",)
    assert pairs[2].negatives == ()  # both others are nearer than its own positive


@pytest.mark.parametrize(("pairs", "count"), [((), 1), ((PAIR,), 0)])
def test_nothing_to_mine_changes_nothing(pairs: tuple[Pair, ...], count: int) -> None:
    mined, report = mine(*pairs, count=count)
    assert mined == pairs
    assert report.negatives == 0
