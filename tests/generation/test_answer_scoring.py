"""Answers are scored as the bundled decoder would write them."""

import itertools

import numpy as np
import pytest

from embeddings.errors import InvalidInput
from generation.answer_scoring import score_answers
from generation.artifact import BUNDLED_DECODER
from generation.decoder import Decoder
from generation.prompt import build_prompt, encode_texts

QUESTION = "when do i plant a tomato"
PASSAGES = ["plant tomatoes in may", "leeks stand in the bed until spring"]


def path_logprob(decoder: Decoder, marker: int, answer: str) -> float:
    """Marker, answer and end, one step after the other."""
    question, *passages = encode_texts(decoder.tokenizer, [QUESTION, *PASSAGES])
    state = decoder.start(build_prompt(decoder.spec.layout, question, passages))
    (encoded,) = encode_texts(decoder.tokenizer, [answer])
    total = 0.0
    for token in (marker, *encoded.ids, decoder.spec.layout.end):
        total += float(state.log_probs[token])
        state = decoder.advance(state, token)
    return total


def test_answer_is_scored_over_all_passages_with_its_end(decoder: Decoder) -> None:
    answers = ["in may", "until spring"]
    found = score_answers(decoder, QUESTION, PASSAGES, answers)
    for answer, score in zip(answers, found, strict=True):
        paths = [path_logprob(decoder, marker, answer) for marker in decoder.spec.layout.passage_tokens[:2]]
        assert score.logprob == pytest.approx(float(np.logaddexp.reduce(paths)), abs=1e-4)
        assert score.size_bytes == len(answer)


def test_different_answers_share_no_more_than_all_probability(decoder: Decoder) -> None:
    vocabulary = decoder.tokenizer.get_vocab()
    words = [word for word in vocabulary if word.isalpha() and word.islower()]
    scores = score_answers(decoder, QUESTION, PASSAGES[:1], words)
    assert 0 < sum(float(np.exp(score.logprob)) for score in scores) < 1


@pytest.mark.parametrize("answer", ["", "may " * 100])
def test_answer_that_the_decoder_cannot_write_is_refused(decoder: Decoder, answer: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be scored"):
        score_answers(decoder, QUESTION, PASSAGES, [answer])


def test_bundled_decoder_holds_the_answer_of_the_passage_likeliest(bundled: Decoder) -> None:
    passages = ["The tower was built in 1889 by Gustave Eiffel for the world fair in Paris."]
    choices = ["1889", "1901", "the world fair"]
    for order in itertools.permutations(choices):
        scores = score_answers(bundled, "When was the tower built?", passages, order)
        assert order[int(np.argmax([score.logprob for score in scores]))] == "1889"
        assert scores[order.index("1889")].greedy


@pytest.fixture(scope="module")
def bundled() -> Decoder:
    return Decoder.load(BUNDLED_DECODER, threads=1)
