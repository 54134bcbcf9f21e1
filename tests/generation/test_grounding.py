import numpy as np
from tokenizers import Tokenizer

from generation.grounding import SpanCursor, answer_logit, mask_except, open_cursor, passage_runs
from generation.prompt import Prompt, build_prompt, encode_texts
from tests.training.decoder_fixtures import TINY_LAYOUT, tiny_tokenizer

TOKENIZER: Tokenizer = tiny_tokenizer()
END = TINY_LAYOUT.end


def _cursor(text: str, other: str = "the harbour") -> tuple[SpanCursor, Prompt]:
    """A cursor on the second of two passages."""
    question, *passages = encode_texts(TOKENIZER, ["where was the king", other, text])
    prompt = build_prompt(TINY_LAYOUT, question, passages)
    return open_cursor(passage_runs(prompt, [passage.word_ids for passage in passages])[1]), prompt


def _words(ids: object) -> set[str]:
    return {TOKENIZER.id_to_token(int(i)) if i != END else "END" for i in ids}  # type: ignore[attr-defined]


def _write(cursor: SpanCursor, prompt: Prompt, *words: str) -> SpanCursor:
    for word in words:
        cursor = cursor.advance(TOKENIZER.token_to_id(word), np.full(len(prompt), 0.01, dtype=np.float32))
    return cursor


def test_answer_may_begin_at_any_word_of_the_passage_but_not_inside_one() -> None:
    cursor, _ = _cursor("The kings built")
    assert _words(cursor.allowed(END)) == {"the", "king", "built"}


def test_answer_goes_on_with_what_follows_there_or_ends() -> None:
    cursor, prompt = _cursor("The king found gold. The queen found silver.")
    assert _words(_write(cursor, prompt, "the").allowed(END)) == {"king", "queen", "END"}
    assert _words(_write(cursor, prompt, "found").allowed(END)) == {"gold", "silver", "END"}
    assert _words(_write(cursor, prompt, "queen", "found").allowed(END)) == {"silver", "END"}


def test_answer_cannot_end_inside_a_word() -> None:
    cursor, prompt = _cursor("The kings built")
    assert _words(_write(cursor, prompt, "king").allowed(END)) == {"##s"}
    assert _words(_write(cursor, prompt, "king", "##s").allowed(END)) == {"built", "END"}


def test_answer_at_the_end_of_the_passage_can_only_end() -> None:
    cursor, prompt = _cursor("in Paris")
    assert _words(_write(cursor, prompt, "paris").allowed(END)) == {"END"}


def test_span_keeps_the_casing_and_spaces_of_the_source() -> None:
    text = "Built in 1871 by The  OLD King."
    cursor, prompt = _cursor(text)
    start, end = _write(cursor, prompt, "the", "old", "king").span()
    assert text[start:end] == "The  OLD King"


def test_span_stands_where_the_decoder_copied_from() -> None:
    text = "The king wrote. The king found gold."
    cursor, prompt = _cursor(text)
    copy_probs = np.full(len(prompt), 0.01, dtype=np.float32)
    first = cursor.passage.tokens.first
    copy_probs[first + 4] = 0.5  # the second "the"
    cursor = cursor.advance(TOKENIZER.token_to_id("the"), copy_probs)
    cursor = cursor.advance(TOKENIZER.token_to_id("king"), np.full(len(prompt), 0.01, dtype=np.float32))
    assert cursor.span() == (16, 24)


def test_span_before_the_first_token_is_empty() -> None:
    assert _cursor("in Paris")[0].span() == (0, 0)


def test_masked_tokens_have_no_probability() -> None:
    masked = mask_except(np.log(np.full(5, 0.2, dtype=np.float32)), np.asarray([1, 3]))
    assert np.isfinite(masked).tolist() == [False, True, False, True, False]


def test_answer_logit_weighs_the_markers_against_the_refusal() -> None:
    probabilities = np.full(20, 1e-9, dtype=np.float32)
    probabilities[TINY_LAYOUT.refuse] = 0.2
    probabilities[list(TINY_LAYOUT.passage_tokens[:3])] = (0.1, 0.2, 0.4)
    log_probs = np.log(probabilities)
    assert np.isclose(answer_logit(log_probs, TINY_LAYOUT, 2), np.log(0.3 / 0.2))  # no third passage
    assert np.isclose(answer_logit(log_probs, TINY_LAYOUT, 3), np.log(0.7 / 0.2))


def test_what_follows_is_read_at_the_likeliest_place() -> None:
    cursor, prompt = _cursor("the king found gold . the queen")
    copy_probs = np.full(len(prompt), 0.01, dtype=np.float32)
    copy_probs[cursor.passage.tokens.first + 5] = 0.5
    cursor = cursor.advance(TOKENIZER.token_to_id("the"), copy_probs)
    assert cursor.following(3) == (TOKENIZER.token_to_id("queen"),)
