import pytest
from tokenizers import Tokenizer

from embeddings.artifact import TOKENIZER
from generation.artifact import BUNDLED_DECODER
from generation.word_pieces import join_pieces, writable_ids

PASSAGE = (
    "Maria Feldt of Zürich moved to the U.S. in 1871. Lighthouses were well-known there; one cost "
    "$1,000 (3.5% of O'Brien's fortune). NASA came later."
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    found: Tokenizer = Tokenizer.from_file(str(BUNDLED_DECODER / TOKENIZER))
    found.no_padding()
    return found


def _joined(tokenizer: Tokenizer, text: str) -> str:
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return join_pieces(tokenizer, ids, PASSAGE, "?")


@pytest.mark.parametrize(
    "question",
    [
        "When did Maria Feldt of Zürich move to the U.S.?",
        "What did well-known lighthouses cost?",
        "How much is $1,000 of O'Brien's fortune (in dollars)?",
        'Who said "lighthouses" before NASA?',
        "Was 3.5% of 2,500 or 4.25 more?",
    ],
)
def test_names_and_spaces_are_those_of_the_passage(tokenizer: Tokenizer, question: str) -> None:
    assert _joined(tokenizer, question.lower()) == question


def test_only_one_mark_ends_the_text(tokenizer: Tokenizer) -> None:
    assert _joined(tokenizer, "who was maria ? ?") == "Who was Maria?"
    assert _joined(tokenizer, "who was maria") == "Who was Maria?"
    assert _joined(tokenizer, "who was maria .") == "Who was Maria?"


def test_special_tokens_cannot_be_written(tokenizer: Tokenizer) -> None:
    writable = set(writable_ids(tokenizer).tolist())
    assert writable.isdisjoint({0, 1, 15, 100, 101, 102, 103})
    assert tokenizer.token_to_id("?") in writable
    assert tokenizer.token_to_id("[") in writable
    assert tokenizer.token_to_id("the") in writable
