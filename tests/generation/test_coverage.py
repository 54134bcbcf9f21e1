import pytest

from generation.coverage import coverage

TEXT = (
    "It rains. The lighthouse was designed by Feldt. It was lit in 1871. Nobody lives there. Bread is baked."
)


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("Who designed the lighthouse?", "Feldt", 1.0),
        ("Who designed the lighthouse?", "1871", 1.0),  # the sentence before it
        ("Who designed the lighthouse?", "Bread", 0.0),
        ("When was the lighthouse painted?", "1871", 0.5),
        ("Who is it?", "Bread", 1.0),  # nothing to look for
    ],
)
def test_content_words_are_looked_for_around_the_answer(question: str, answer: str, expected: float) -> None:
    start = TEXT.index(answer)
    assert coverage(question, TEXT, start, start + len(answer)) == expected
