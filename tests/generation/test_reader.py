from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddings.errors import InvalidInput
from generation.decoder import Decoder
from generation.reader import GroundedReader
from generation.sampling import SamplingSettings
from generation.types import Passage, Reading
from tests.training.decoder_fixtures import WORDS

TEXTS = (
    "The Old Castle was built in 1871.",
    "The queen found gold in the NORTH tower.",
    "Kings wrote in Paris.",
)
GREEDY = SamplingSettings(max_tokens=8)


@pytest.fixture(scope="module")
def reader(decoder: Decoder) -> GroundedReader:
    return GroundedReader(decoder)


def _passages(texts: Sequence[str]) -> list[Passage]:
    return [Passage(number, text) for number, text in enumerate(texts, start=1)]


def _read(
    reader: GroundedReader,
    texts: Sequence[str] = TEXTS,
    sampling: SamplingSettings = GREEDY,
    refuse_below: float | None = None,
) -> tuple[list[str], Reading]:
    *pieces, reading = reader.read(
        "who was king", _passages(texts), sampling, refuse_below=refuse_below, cancelled=lambda: False
    )
    assert isinstance(reading, Reading)
    return [piece for piece in pieces if isinstance(piece, str)], reading


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    texts=st.lists(
        st.lists(st.sampled_from([*WORDS, "Zürich", "北京"]), min_size=1).map(" ".join),
        min_size=1,
        max_size=4,
    ),
)
def test_answer_is_a_span_of_the_passage_it_names(decoder: Decoder, seed: int, texts: list[str]) -> None:
    sampling = SamplingSettings(temperature=1.5, seed=seed, max_tokens=6)
    pieces, reading = _read(GroundedReader(decoder), texts, sampling)
    assert reading.passage_number is not None
    text = texts[reading.passage_number - 1]
    assert text[reading.start : reading.end] == reading.text != ""
    assert len("".join(pieces)) == len(reading.text)
    assert 0.0 <= reading.answer_probability <= 1.0


def test_streamed_pieces_spell_the_answer(reader: GroundedReader) -> None:
    pieces, reading = _read(reader)
    assert "".join(pieces) == reading.text


def test_greedy_answers_are_the_same_every_time(reader: GroundedReader) -> None:
    assert _read(reader) == _read(reader)


def test_sampled_answers_follow_their_seed(reader: GroundedReader) -> None:
    drawn = [
        _read(reader, sampling=SamplingSettings(temperature=2.0, seed=seed))[1] for seed in (1, 1, 2, 3, 4)
    ]
    assert drawn[0] == drawn[1]
    assert len({(reading.passage_number, reading.start, reading.end) for reading in drawn}) > 1


def test_reading_below_the_threshold_is_refused_without_a_word(reader: GroundedReader) -> None:
    pieces, reading = _read(reader, refuse_below=1.1)
    assert pieces == []
    assert (reading.finish_reason, reading.passage_number, reading.text) == ("refused", None, "")
    assert reading.answer_probability == pytest.approx(_read(reader)[1].answer_probability)


def test_answer_ends_at_max_tokens(reader: GroundedReader) -> None:
    _, reading = _read(reader, sampling=SamplingSettings(max_tokens=1))
    assert reading.finish_reason in ("length", "stop")
    assert reading.tokens == 2 if reading.finish_reason == "length" else 3


def test_stop_sequence_ends_the_answer_and_is_no_part_of_it(reader: GroundedReader) -> None:
    _, whole = _read(reader, sampling=SamplingSettings(temperature=2.0, seed=13, max_tokens=12))
    words = whole.text.split()
    assert len(words) > 2, "the seed must draw an answer of several words"
    stop = words[2]
    pieces, reading = _read(
        reader, sampling=SamplingSettings(temperature=2.0, seed=13, max_tokens=12, stop=(stop,))
    )
    assert reading.finish_reason == "stop"
    assert reading.text == whole.text[: whole.text.index(stop)].rstrip()
    assert stop not in "".join(pieces)


def test_cancelled_reading_ends_without_a_result(reader: GroundedReader) -> None:
    calls = iter([False, True, True])
    steps = list(
        reader.read("who", _passages(TEXTS), GREEDY, refuse_below=None, cancelled=lambda: next(calls))
    )
    assert not any(isinstance(step, Reading) for step in steps)


def test_passage_without_words_is_never_chosen(reader: GroundedReader) -> None:
    for seed in range(10):
        sampling = SamplingSettings(temperature=2.0, seed=seed)
        assert _read(reader, ["   ", "The king wrote."], sampling)[1].passage_number == 2


def test_passages_without_any_word_are_refused_as_input(reader: GroundedReader) -> None:
    with pytest.raises(InvalidInput, match="no passage holds a word"):
        _read(reader, ["   ", "\n"])


def test_two_readings_at_once_do_not_disturb_each_other(reader: GroundedReader) -> None:
    expected = [_read(reader, [text])[1] for text in TEXTS]
    steps = [
        reader.read("who was king", _passages([text]), GREEDY, refuse_below=None, cancelled=lambda: False)
        for text in TEXTS
    ]
    found: dict[int, Reading] = {}
    while len(found) < len(steps):
        for index, running in enumerate(steps):
            step = next(running, None)
            if isinstance(step, Reading):
                found[index] = step
    assert [found[index] for index in range(len(steps))] == expected
    assert np.isfinite([reading.answer_probability for reading in expected]).all()


@pytest.mark.parametrize(("field", "value"), [("beams", 2), ("repetition_penalty", 1.2), ("logprobs", 0)])
def test_sampling_that_a_copied_span_cannot_honour_is_refused_by_name(
    reader: GroundedReader, field: str, value: float
) -> None:
    with pytest.raises(InvalidInput, match=field) as raised:
        _read(reader, sampling=SamplingSettings(**{field: value}))
    assert raised.value.field == field


@pytest.mark.parametrize(
    "sampling", [SamplingSettings(1.5, seed=1, min_p=0.1), SamplingSettings(1.5, seed=1, typical_p=0.9)]
)
def test_every_filter_is_honoured(reader: GroundedReader, sampling: SamplingSettings) -> None:
    pieces, reading = _read(reader, sampling=sampling)
    assert "".join(pieces) == reading.text
