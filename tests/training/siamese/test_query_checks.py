import pytest

from training.siamese.drafts import Draft, Source, read_passage
from training.siamese.query_checks import find_fault
from training.siamese.term_weights import TermWeights

PASSAGE = read_passage(
    "a#0", "Pleiotropy\nMost genes affect many traits. This phenomenon, known as pleiotropy, is a constraint."
)
WEIGHTS = TermWeights([PASSAGE.text, *(f"Number {i} is of the kind that is known." for i in range(9))])


def fault(query: str, source: Source = "decoder") -> str | None:
    return find_fault(Draft(PASSAGE, query, PASSAGE.text, source), WEIGHTS)


@pytest.mark.parametrize(
    "question",
    [
        "What is pleiotropy?",
        "How many traits are affected by most genes?",
        "In what way do genes affect traits?",
        "Why is pleiotropy a constraint on evolution?",
    ],
)
def test_good_questions_pass(question: str) -> None:
    assert fault(question) is None


@pytest.mark.parametrize(  # most of them were written by the bundled decoder of 20 November 2026
    ("question", "expected"),
    [
        ("Why did pleiotropy feel when pleiotropy?", "repeats itself"),
        ("What is the name of of pleiotropy?", "repeats itself"),
        ("How many people is pleiotropy?", "ungrammatical"),
        ("What are the name of pleiotropy?", "ungrammatical"),
        ("How does the pleiotropy affect the?", "ungrammatical"),
        ("Who is stem cell biology?", "no word of the passage"),
        ("Pleiotropy and many traits?", "no question"),
        ("What is pleiotropy", "no question"),
        ("Why pleiotropy?", "length of a question"),
        ("Why do most genes affect many traits?", "repeats the passage"),
    ],
)
def test_bad_questions_are_told_by_their_fault(question: str, expected: str) -> None:
    assert fault(question) == expected


def test_headings_and_sentences_need_not_be_questions_but_say_something() -> None:
    assert fault("Pleiotropy as a mechanism", "headings") is None
    assert fault("Introduction", "headings") == "says little"
