from collections.abc import Sequence

import numpy as np
import pytest

from generation.decoder import Decoder
from generation.outlook import look
from generation.sampling import SamplingSettings
from generation.sentence_reading import FIRST_TOKENS, MAX_SENTENCES, write_sentences
from generation.sentences import split_sentences
from generation.types import Passage
from generation.written import Written
from tests.training.decoder_fixtures import TINY_LAYOUT

END = TINY_LAYOUT.end
GREEDY = SamplingSettings()
TEXTS = (
    "The king found. The queen wrote. Who was in Rome? The baker built.",
    "Old Paris. The bridge was built in 1871. A river!",
)


def _write(
    decoder: Decoder,
    texts: Sequence[str] = TEXTS,
    sampling: SamplingSettings = GREEDY,
    longest: int = 10,
) -> Written:
    passages = [Passage(number, text) for number, text in enumerate(texts, start=1)]
    outlook = look(decoder, "how was the bridge built", texts, "sentences")
    written = write_sentences(outlook, passages, END, longest, sampling, lambda: False)
    assert written is not None
    return written


@pytest.mark.parametrize("seed", range(12))
def test_answers_are_one_to_three_whole_sentences_of_one_passage(decoder: Decoder, seed: int) -> None:
    written = _write(decoder, sampling=SamplingSettings(temperature=2.0, seed=seed), longest=10)
    spans = split_sentences(TEXTS[written.number - 1])
    assert written.start in {start for start, _ in spans}
    assert written.end in {end for _, end in spans}
    taken = [span for span in spans if written.start <= span[0] and span[1] <= written.end]
    assert len(taken) == written.sentences <= MAX_SENTENCES
    assert len(written.tokens) - 1 <= 10


def test_the_tokens_are_those_of_the_text(decoder: Decoder) -> None:
    written = _write(decoder)
    text = TEXTS[written.number - 1][written.start : written.end]
    encoded = decoder.tokenizer.encode(text, add_special_tokens=False)
    assert written.tokens == (TINY_LAYOUT.passage_tokens[written.number - 1], *encoded.ids)


def test_draws_follow_their_seed_and_differ(decoder: Decoder) -> None:
    hot = [
        _write(decoder, sampling=SamplingSettings(temperature=2.0, seed=seed)) for seed in (1, 1, *range(8))
    ]
    assert hot[0] == hot[1]
    assert len({(each.number, each.start, each.end) for each in hot}) > 1


def test_the_likeliest_beginning_is_chosen_by_its_first_tokens(decoder: Decoder) -> None:
    text = "The king found gold. The queen found gold. Old Paris was in Rome."
    written = _write(decoder, [text])
    outlook = look(decoder, "how was the bridge built", [text], "sentences")
    likelihoods = {}
    for start, end in split_sentences(text):
        ids = decoder.tokenizer.encode(text[start:end], add_special_tokens=False).ids
        run: tuple[int, ...] = (outlook.roots[0].marker,)
        total = 0.0
        for token in ids[:FIRST_TOKENS]:
            total += float(outlook.branches.behind(run).log_probs[token])
            run = (*run, token)
        likelihoods[start] = total
    assert written.start == max(likelihoods, key=lambda start: likelihoods[start])


def test_the_likelihood_counts_beginning_and_ends(decoder: Decoder) -> None:
    text = "The king found gold. The queen wrote."
    written = _write(decoder, [text])
    behind = look(decoder, "how was the bridge built", [text], "sentences").branches
    sentences = [
        decoder.tokenizer.encode(text[slice(*span)], add_special_tokens=False).ids
        for span in split_sentences(text)
    ]
    chosen = 0 if written.start == 0 else 1
    run: tuple[int, ...] = (written.tokens[0],)
    total = 0.0
    for token in sentences[chosen]:
        if len(run) <= FIRST_TOKENS:
            total += float(behind.behind(run).log_probs[token])
        run = (*run, token)
    if chosen == 0:
        row = behind.behind(run).log_probs[[END, sentences[1][0]]].astype(np.float64)
        total += float((row - np.logaddexp.reduce(row))[written.sentences - 1])
    assert written.log_likelihood == pytest.approx(total, abs=1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_rows_of_tables_and_headings_answer_nothing_beside_a_sentence(decoder: Decoder, seed: int) -> None:
    table = "| queen | Rome |\n|---|---|\n| bridge | 1871 |"
    text = f"# The bridge\n{table}\n\nThe king found gold.\n\n| river | Paris |"
    written = _write(decoder, [text], SamplingSettings(temperature=2.0, seed=seed), longest=20)
    assert text[written.start : written.end] == "The king found gold."


def test_a_table_alone_is_answered_with_a_row(decoder: Decoder) -> None:
    written = _write(decoder, ["| queen | Rome |\n| bridge | 1871 |"], longest=20)
    assert written.sentences >= 1


def test_a_sentence_that_fits_is_preferred_to_one_that_would_be_cut(decoder: Decoder) -> None:
    written = _write(decoder, ["The king found gold in the old stone tower of London . A river ."], longest=4)
    assert (written.sentences, written.finish) == (1, "stop")
    assert len(written.tokens) - 1 == 3


def test_where_none_fits_the_answer_is_cut(decoder: Decoder) -> None:
    text = "The king found gold in the old stone tower of London."
    written = _write(decoder, [text], longest=4)
    assert (text[written.start : written.end], written.finish) == ("The king found gold", "length")


def test_a_sentence_that_the_prompt_cuts_off_is_no_candidate(decoder: Decoder) -> None:
    text = "The king found gold. " + "The queen wrote and " + "the queen wrote and " * 40
    for seed in range(8):
        written = _write(decoder, [text], SamplingSettings(temperature=2.0, seed=seed))
        assert text[written.start : written.end] == "The king found gold."


def test_cancelled_reading_gives_nothing(decoder: Decoder) -> None:
    for asked in range(3):
        calls = iter([False] * asked + [True] * 9)
        outlook = look(decoder, "how was it built", TEXTS, "sentences")
        passages = [Passage(number, text) for number, text in enumerate(TEXTS, start=1)]
        found = write_sentences(outlook, passages, END, 10, GREEDY, lambda calls=calls: next(calls))  # type: ignore[misc]
        assert found is None
