from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddings.errors import InvalidInput
from generation.confidence import ConfidenceModel
from generation.decoder import Decoder
from generation.prompt import AnswerStyle, build_prompt, encode_texts
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
    style: AnswerStyle | None = None,
) -> tuple[list[str], Reading]:
    *pieces, reading = reader.styled(style).read(
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


def test_stop_sequence_cuts_a_searched_answer_too(reader: GroundedReader) -> None:
    _, whole = _read(reader, style="sentences")
    stop = whole.text.split()[1]
    pieces, reading = _read(reader, sampling=SamplingSettings(max_tokens=8, stop=(stop,)), style="sentences")
    assert (reading.text, reading.finish_reason) == (whole.text[: whole.text.index(stop)].rstrip(), "stop")
    assert "".join(pieces) == reading.text == TEXTS[reading.passage_number - 1][reading.start : reading.end]  # type: ignore[operator]


def test_style_goes_by_the_question_unless_it_is_given(reader: GroundedReader) -> None:
    def read(question: str, style: AnswerStyle | None) -> Reading:
        *_, reading = reader.styled(style).read(
            question, _passages(TEXTS), GREEDY, refuse_below=None, cancelled=lambda: False
        )
        assert isinstance(reading, Reading)
        return reading

    assert read("how was the castle built", None) == read("how was the castle built", "sentences")
    assert read("who was king", None) == read("who was king", "span")
    sentences = read("who was king", "sentences")
    assert sentences.text in TEXTS
    assert sentences.signals is not None
    assert sentences.signals.sentences == 1.0


def test_signals_tell_what_the_answer_was_weighed_by(reader: GroundedReader, decoder: Decoder) -> None:
    _, reading = _read(reader)
    signals = reading.signals
    assert signals is not None
    assert reading.passage_number is not None
    question, *passages = encode_texts(decoder.tokenizer, ["who was king", *TEXTS])
    state = decoder.start(build_prompt(decoder.spec.layout, question, passages))
    layout = decoder.spec.layout
    odds = np.exp(signals.answer_logit)
    markers = np.exp(state.log_probs[list(layout.passage_tokens[:3])]).sum()
    assert odds == pytest.approx(markers / np.exp(state.log_probs[layout.refuse]), rel=1e-3)
    answer = decoder.tokenizer.encode(reading.text, add_special_tokens=False).ids
    for token in (layout.passage_tokens[reading.passage_number - 1], *answer, layout.end):
        state = decoder.advance(state, token)
    verdict = float(state.log_probs[layout.accept] - state.log_probs[layout.refuse])
    assert signals.verdict_logit == pytest.approx(verdict, abs=1e-3)
    assert (signals.tokens, signals.passages, signals.sentences) == (len(answer), 3.0, 0.0)
    assert signals.log_likelihood < 0 <= signals.margin


def test_confidence_of_the_manifest_decides(decoder: Decoder) -> None:
    model = ConfidenceModel({"tokens": 1.0, "passages": 2.0}, -3.0)
    spec = msgspec.structs.replace(decoder.spec, confidence=model)
    calibrated = Decoder(decoder._session, spec, decoder.tokenizer, decoder.model_id)
    _, plain = _read(GroundedReader(decoder))
    _, reading = _read(GroundedReader(calibrated))
    assert reading.signals is not None
    assert reading.signals == plain.signals
    expected = 1 / (1 + np.exp(-(reading.signals.tokens + 2 * 3 - 3)))
    assert reading.answer_probability == pytest.approx(expected)
    assert plain.answer_probability == pytest.approx(1 / (1 + np.exp(-reading.signals.answer_logit)))
    _, withheld = _read(GroundedReader(calibrated), refuse_below=expected + 1e-6)
    _, told = _read(GroundedReader(calibrated), refuse_below=expected - 1e-6)
    assert (withheld.finish_reason, told.text) == ("refused", reading.text)


@pytest.mark.parametrize("style", ["span", "sentences"])
@pytest.mark.parametrize("sampling", [GREEDY, SamplingSettings(temperature=1.0, seed=1)])
def test_cancelling_between_any_two_passes_ends_the_reading(
    reader: GroundedReader, style: AnswerStyle, sampling: SamplingSettings
) -> None:
    steps: list[str | Reading] = []
    asked = 0
    while not steps:
        asked += 1
        calls = iter([False] * asked)
        steps = list(
            reader.styled(style).read(
                "who",
                _passages(TEXTS),
                sampling,
                refuse_below=None,
                cancelled=lambda calls=calls: next(calls, True),  # type: ignore[misc]
            )
        )
        assert asked < 100
    assert asked > 3
    assert isinstance(steps[-1], Reading)


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
