import math

import pytest

from generation.causal.chat import TextDelta, TokenLogprob
from generation.causal.refusal import RefusalWatch

NOT_FOUND = "Not in the passages."


def token(text: str, probability: float, **others: float) -> TextDelta:
    best = TokenLogprob(text, math.log(probability), text.encode())
    top = tuple(TokenLogprob(word, math.log(p), word.encode()) for word, p in others.items())
    return TextDelta(0, text, (TokenLogprob(text, best.logprob, best.data, (best, *top)),))


def watch(*deltas: TextDelta) -> RefusalWatch:
    found = RefusalWatch(NOT_FOUND)
    for delta in deltas:
        found.push(delta)
    return found


@pytest.mark.parametrize(
    "text", [NOT_FOUND, "not in the passages", " NOT IN the Passages!", NOT_FOUND + " I"]
)
def test_the_words_of_the_prompt_are_a_refusal_in_any_dress(text: str) -> None:
    assert watch(*(TextDelta(0, letter) for letter in text)).refused


@pytest.mark.parametrize("text", ["Noted.", "In May.", "Not in the garden.", "Not"])
def test_other_words_are_none(text: str) -> None:
    found = watch(TextDelta(0, text))
    found.finish()
    assert not found.refused
    assert not found.pending


def test_the_beginning_of_a_refusal_is_undecided() -> None:
    found = watch(TextDelta(0, "Not"), TextDelta(0, " in"))
    assert found.pending
    assert found.answer_probability is None


def test_the_probability_of_a_refusal_is_that_of_its_tokens() -> None:
    found = watch(token("Not", 0.5), token(" in the", 0.8), token(" passages", 0.9))
    assert found.refused
    assert found.answer_probability == pytest.approx(1 - 0.5 * 0.8 * 0.9)


def test_the_probability_of_an_answer_leaves_out_what_stayed_a_refusal() -> None:
    found = watch(token("May", 0.6, Not=0.25, No=0.05, Never=0.1))
    assert not found.pending
    assert found.answer_probability == pytest.approx(1 - 0.25 - 0.05)


def test_an_answer_that_begins_like_a_refusal_is_weighed_where_it_leaves_it() -> None:
    found = watch(token("Not", 0.5), token(" before", 0.7, **{" in": 0.2, " on": 0.1}))
    assert found.answer_probability == pytest.approx(1 - 0.5 * 0.2)


def test_tokens_that_are_parts_of_characters_are_joined() -> None:
    data = "无解".encode()
    tokens = [TextDelta(0, "", (TokenLogprob("�", math.log(0.9), data[i : i + 2]),)) for i in (0, 2, 4)]
    found = RefusalWatch("无解。")
    for delta in tokens:
        found.push(delta)
    found.push(TextDelta(0, "无解", (TokenLogprob("。", math.log(0.5), "。".encode()),)))
    assert found.refused
    assert found.answer_probability == pytest.approx(1 - 0.9**3 * 0.5)


def test_without_probabilities_none_is_told() -> None:
    assert watch(TextDelta(0, "In May.")).answer_probability is None
    assert watch(TextDelta(0, NOT_FOUND)).answer_probability is None
