import pytest

from generation.scripts import language_of, mostly_latin


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Which API?", True),
        ("1999?", True),
        ("", True),
        ("Wie groß ist die Größe?", True),
        ("Who is Пушкин?", True),
        ("Что такое Kubernetes?", False),
        ("Kubernetes 是什么", False),
        ("как FastAPI", False),
        ("كيف حالك", False),
    ],
)
def test_words_and_not_letters_decide_whether_a_text_is_mostly_latin(text: str, expected: bool) -> None:
    assert mostly_latin(text) is expected


@pytest.mark.parametrize(
    ("text", "language"),
    [("", "en"), ("Где GPU?", "ru"), ("GPU 是什么", "zh"), ("是 NVIDIA, AMD, Intel?", "en"), ("12", "en")],
)
def test_a_text_is_in_the_language_of_most_of_its_words(text: str, language: str) -> None:
    assert language_of(text) == language
