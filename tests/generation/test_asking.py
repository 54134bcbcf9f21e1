import pytest

from embeddings.errors import InvalidInput
from generation.asking import ask_questions
from generation.decoder import Decoder
from generation.prompt import build_prompt, encode_texts
from generation.sampling import SamplingSettings
from generation.word_pieces import join_pieces, writable_ids

PASSAGE = "The Old Castle was built in 1871 by the king of Paris."
HOT = SamplingSettings(temperature=2.0, seed=3)


def test_questions_are_different_end_in_a_mark_and_are_no_more_than_asked_for(decoder: Decoder) -> None:
    questions = ask_questions(decoder, PASSAGE, None, 12, HOT)
    assert 1 < len(questions) <= 12
    assert all(question.endswith("?") and len(question) > 1 for question in questions)
    assert len({question.casefold() for question in questions}) == len(questions)


def test_drawn_questions_follow_their_seed(decoder: Decoder) -> None:
    assert ask_questions(decoder, PASSAGE, None, 8, HOT) == ask_questions(decoder, PASSAGE, None, 8, HOT)
    other = SamplingSettings(temperature=2.0, seed=4)
    assert ask_questions(decoder, PASSAGE, None, 8, other) != ask_questions(decoder, PASSAGE, None, 8, HOT)


def test_greedy_questions_are_written_side_by_side_as_each_alone(decoder: Decoder) -> None:
    """The k-th question begins with the k-th likeliest word and goes on greedily."""
    sampling = SamplingSettings(max_tokens=12)
    (encoded,) = encode_texts(decoder.tokenizer, [PASSAGE])
    (hint,) = encode_texts(decoder.tokenizer, ["1871"])
    prompt = build_prompt(decoder.spec.layout, hint, [encoded], "question")
    words = writable_ids(decoder.tokenizer)
    mark, end = decoder.tokenizer.token_to_id("?"), decoder.spec.layout.end
    start = decoder.start(prompt)
    expected = []
    for first in sorted(words.tolist(), key=lambda i: -start.log_probs[i])[:10]:
        written, state = [first], decoder.advance(start, first)
        for _ in range(12):
            token = max([*words.tolist(), end], key=lambda i: state.log_probs[i])
            if token in (mark, end):
                expected.append(join_pieces(decoder.tokenizer, written, PASSAGE, "?"))
                break
            written.append(token)
            state = decoder.advance(state, token)
    found = ask_questions(decoder, PASSAGE, ["1871"], 10, sampling)
    assert set(found) == {text for text in expected if any(map(str.isalnum, text))}


def test_answers_are_asked_for_in_turn(decoder: Decoder) -> None:
    both = ask_questions(decoder, PASSAGE, ["1871", "the king"], 8, HOT)
    about_the_first = ask_questions(decoder, PASSAGE, ["1871"], 4, HOT)
    assert 0 < len(about_the_first) < len(both)
    assert [question for question in both if question in about_the_first] == about_the_first


@pytest.mark.parametrize(
    ("passage", "answers", "count", "field"),
    [
        ("", None, 1, "passage"),
        (" \n", None, 1, "passage"),
        ("the king " * 100, None, 1, "passage"),
        (PASSAGE, [""], 1, "answers"),
        (PASSAGE, ["the king " * 20], 1, "answers"),
        (PASSAGE, [], 1, "answers"),
        (PASSAGE, None, 0, "count"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(
    decoder: Decoder, passage: str, answers: list[str] | None, count: int, field: str
) -> None:
    with pytest.raises(InvalidInput) as raised:
        ask_questions(decoder, passage, answers, count, HOT)
    assert raised.value.field == field


def test_sampling_that_cannot_be_honoured_is_refused(decoder: Decoder) -> None:
    with pytest.raises(InvalidInput, match="beams"):
        ask_questions(decoder, PASSAGE, None, 1, SamplingSettings(beams=2))
