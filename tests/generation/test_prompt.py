import pytest

from embeddings.errors import InvalidInput
from generation.prompt import ANSWER_SEGMENT, Prompt, build_prompt, encode_texts
from tests.training.decoder_fixtures import TINY_LAYOUT, tiny_tokenizer


def _prompt(question: str, *passages: str) -> Prompt:
    first, *rest = encode_texts(tiny_tokenizer(), [question, *passages])
    return build_prompt(TINY_LAYOUT, first, rest)


def test_prompt_numbers_its_passages_and_ends_with_the_begin_token() -> None:
    prompt = _prompt("who built", "the king", "the old queen")
    assert prompt.segments.tolist() == [0] * 4 + [1] * 4 + [2] * 5 + [ANSWER_SEGMENT]
    markers = [TINY_LAYOUT.passage_tokens[0], TINY_LAYOUT.passage_tokens[1]]
    assert [prompt.token_ids[4], prompt.token_ids[8]] == markers
    assert prompt.token_ids[-1] == TINY_LAYOUT.begin


def test_positions_start_anew_for_each_passage() -> None:
    prompt = _prompt("who built", "the king", "the old queen")
    assert prompt.positions.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7, 8, TINY_LAYOUT.answer_position]


def test_offsets_point_into_the_passage_text() -> None:
    text = "The KINGS  wrote"
    placed = _prompt("who", text).passages[0]
    assert [text[start:end] for start, end in placed.offsets] == ["The", "KING", "S", "wrote"]


def test_long_passage_is_cut_below_the_answer_position_and_says_so() -> None:
    prompt = _prompt("who built", "stone " * 200, "the king")
    assert [placed.truncated for placed in prompt.passages] == [True, False]
    assert prompt.positions[:-1].max() < TINY_LAYOUT.answer_position


def test_long_question_is_refused_with_both_numbers() -> None:
    with pytest.raises(InvalidInput, match=r"40 tokens.*16") as caught:
        _prompt("who " * 40, "the king")
    assert caught.value.field == "question"


@pytest.mark.parametrize("count", [0, 5])
def test_number_of_passages_is_bounded_by_the_markers(count: int) -> None:
    with pytest.raises(InvalidInput, match=f"{count} passages given, the decoder reads 1 to 4"):
        _prompt("who", *["the king"] * count)
