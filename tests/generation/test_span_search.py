"""The search finds what an exhaustive enumeration finds."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from generation.decoder import Decoder
from generation.grounding import mask_except
from generation.outlook import Outlook, look
from generation.span_search import FoundSpan, SearchLimits, SpanSearch, choose_span, search_span
from generation.written import Written
from tests.training.decoder_fixtures import TINY_LAYOUT

QUESTION = "who was king"
PASSAGES = ["The king found kings.", "The queen found gold. The king", "old old bakers"]
END = TINY_LAYOUT.end
THOROUGH = SearchLimits(width=5, passes=10_000, children=10_000, lookahead=2)


def _look(decoder: Decoder, passages: Sequence[str] = PASSAGES) -> Outlook:
    return look(decoder, QUESTION, passages, "span")


def _write(outlook: Outlook, longest: int, limits: SearchLimits = THOROUGH) -> Written:
    written = search_span(outlook, END, longest, lambda: False, limits)
    assert written is not None
    return written


def _enumerate(decoder: Decoder, passages: Sequence[str], longest: int) -> Iterator[tuple[float, int, str]]:
    """Every span of whole words up to `longest` tokens, each followed token by token on its own."""
    for root in _look(decoder, passages).roots:
        seen = set()
        ids, starts = root.cursor.passage.token_ids, [*root.cursor.passage.word_starts, True]
        offsets = root.cursor.passage.tokens.offsets
        for first in range(len(ids)):
            for last in range(first + 1, min(len(ids), first + longest) + 1):
                run = tuple(ids[first:last].tolist())
                if not (starts[first] and starts[last]) or run in seen:
                    continue
                seen.add(run)
                text = passages[root.number - 1][offsets[first][0] : offsets[last - 1][1]]
                yield _path(decoder, passages, root.marker, run) + root.log_prob, root.number, text


def _path(decoder: Decoder, passages: Sequence[str], marker: int, run: tuple[int, ...]) -> float:
    outlook = _look(decoder, passages)
    total = 0.0
    written: tuple[int, ...] = (marker,)
    for token in (*run, END):
        total += float(outlook.branches.behind(written).log_probs[token])
        written = (*written, token)
    return total


def test_the_likeliest_of_all_spans_is_found(decoder: Decoder) -> None:
    longest = 4  # an answer of more tokens is at most as likely as its first four, without an end
    expected = max(_enumerate(decoder, PASSAGES, longest - 1))
    search = SpanSearch(_look(decoder).branches, END, longest, THOROUGH)
    assert search.run(_look(decoder).roots, lambda: False)
    ended = [span for span in search.spans if span.ended]
    assert ended[0].log_likelihood == pytest.approx(expected[0], abs=1e-3)
    span = ended[0].cursor
    start, end = span.span()
    number = span.passage.tokens.number
    assert (number, PASSAGES[number - 1][start:end].lower()) == (expected[1], expected[2].lower())


def test_all_spans_have_the_likelihood_of_writing_them_alone(decoder: Decoder) -> None:
    search = SpanSearch(_look(decoder).branches, END, 4, THOROUGH)
    search.run(_look(decoder).roots, lambda: False)
    assert len(search.spans) > 3
    for span in search.spans[:10]:
        alone = _path(decoder, PASSAGES, span.tokens[0], span.tokens[1:])
        root = next(root for root in _look(decoder).roots if root.marker == span.tokens[0])
        if span.ended:
            assert span.log_likelihood == pytest.approx(alone + root.log_prob, abs=1e-3)


def test_width_and_lookahead_change_the_cost_and_not_the_answer(decoder: Decoder) -> None:
    found = {
        (answer.number, answer.start, answer.end)
        for width in (1, 3, 8)
        for lookahead in (0, 1, 3)
        for answer in [_write(_look(decoder), 4, SearchLimits(width, 10_000, 10_000, lookahead))]
    }
    assert len(found) == 1


def test_the_likeliest_span_is_at_least_as_likely_as_the_greedy_one(decoder: Decoder) -> None:
    outlook = _look(decoder)
    root = outlook.roots[0]
    cursor, greedy = root.cursor, root.log_prob
    tokens: tuple[int, ...] = (root.marker,)
    while cursor.length < 6:
        prediction = outlook.branches.behind(tokens)
        token = int(mask_except(prediction.log_probs, cursor.allowed(END)).argmax())
        greedy += float(prediction.log_probs[token])
        if token == END:
            break
        tokens, cursor = (*tokens, token), cursor.advance(token, prediction.copy_probs)
    search = SpanSearch(_look(decoder).branches, END, 6, THOROUGH)
    search.run(_look(decoder).roots, lambda: False)
    assert search.spans[0].log_likelihood >= greedy - 1e-4


def _found(decoder: Decoder, *answers: tuple[str, float]) -> list[FoundSpan]:
    """Spans by their words, preceded by their passage's marker, with their probabilities."""
    cursor = _look(decoder).roots[0].cursor
    spans = []
    for text, probability in answers:
        marker, *words = text.split()
        ids = decoder.tokenizer.encode(" ".join(words), add_special_tokens=False).ids
        spans.append(FoundSpan((int(marker), *ids), cursor, float(np.log(probability)), ended=True))
    return spans


def test_spans_that_share_words_speak_for_each_other(decoder: Decoder) -> None:
    spans = _found(decoder, ("1 gold", 0.3), ("1 the old king", 0.28), ("1 king", 0.15), ("1 old king", 0.1))
    assert choose_span(spans) == spans[1]


def test_the_same_words_in_two_passages_outweigh_a_likelier_span(decoder: Decoder) -> None:
    spans = _found(decoder, ("1 gold", 0.3), ("2 silver", 0.25), ("3 silver", 0.2))
    assert choose_span(spans) == spans[1]


def test_spans_without_a_common_word_are_chosen_by_likelihood(decoder: Decoder) -> None:
    spans = _found(decoder, ("1 gold", 0.3), ("2 silver", 0.25), ("1 king", 0.2))
    assert choose_span(spans) == spans[0]


def test_the_margin_is_the_way_to_the_best_span_elsewhere(decoder: Decoder) -> None:
    answer = _write(_look(decoder, PASSAGES[:1]), 4)
    text = PASSAGES[0]
    apart = [
        likelihood
        for likelihood, _, span in _enumerate(decoder, PASSAGES[:1], 3)
        if text.index(span) >= answer.end or text.index(span) + len(span) <= answer.start
    ]
    # The best elsewhere need not be followed to its end, so the margin may come out smaller, never larger.
    assert 0.0 <= answer.margin <= max(0.0, answer.log_likelihood - max(apart)) + 1e-3


def test_a_span_is_cut_at_the_longest_length(decoder: Decoder) -> None:
    answer = _write(_look(decoder), 1)
    assert len(answer.tokens) == 2
    assert answer.finish == "length"


def test_few_passes_still_give_an_answer(decoder: Decoder) -> None:
    for passes in (1, 2, 3):
        answer = _write(_look(decoder), 6, SearchLimits(width=2, passes=passes, lookahead=0))
        text = PASSAGES[answer.number - 1][answer.start : answer.end]
        assert text
        assert np.isfinite(answer.log_likelihood)


def test_a_cancelled_search_stops_between_passes(decoder: Decoder) -> None:
    calls = iter([False, True])
    assert search_span(_look(decoder), END, 6, lambda: next(calls), THOROUGH) is None
