import pytest

from generation.scripts import mostly_latin


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
