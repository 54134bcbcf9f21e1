"""What the bundled reader tells of how it chose; telling changes nothing that is chosen."""

import math
from collections.abc import Sequence

import pytest

from embeddings.errors import InvalidInput
from generation.decoder import Decoder
from generation.prompt import AnswerStyle
from generation.reader import GroundedReader
from generation.sampling import SamplingSettings
from generation.tracing import MAX_RIVALS, ReaderTrace
from generation.types import Passage, Reading

TEXTS = (
    "The Old Castle was built in 1871.",
    "The queen found gold in the NORTH tower. It was hidden there.",
    "Kings wrote in Paris.",
)
GREEDY = SamplingSettings(max_tokens=8)
DRAWN = SamplingSettings(temperature=1.5, seed=3, max_tokens=8)
STYLES: tuple[AnswerStyle, ...] = ("span", "sentences")


def passages() -> list[Passage]:
    return [Passage(number, text) for number, text in enumerate(TEXTS, start=1)]


def trace(decoder: Decoder, style: AnswerStyle, sampling: SamplingSettings = GREEDY) -> ReaderTrace:
    reader = GroundedReader(decoder, style=style)
    traced = reader.trace("who was king", passages(), sampling, alternatives=3, cancelled=lambda: False)
    assert traced is not None
    return traced


def read(decoder: Decoder, style: AnswerStyle, sampling: SamplingSettings) -> Reading:
    reader = GroundedReader(decoder, style=style)
    *_, reading = reader.read(
        "who was king", passages(), sampling, refuse_below=None, cancelled=lambda: False
    )
    assert isinstance(reading, Reading)
    return reading


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN])
@pytest.mark.parametrize("style", STYLES)
def test_it_is_the_answer_that_reading_gives(
    decoder: Decoder, style: AnswerStyle, sampling: SamplingSettings
) -> None:
    told, answered = trace(decoder, style, sampling).reading, read(decoder, style, sampling)
    assert (told.text, told.passage_number) == (answered.text, answered.passage_number)
    assert told.answer_probability == pytest.approx(answered.answer_probability, abs=1e-4)


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN])
@pytest.mark.parametrize("style", STYLES)
def test_the_tokens_spell_the_answer(
    decoder: Decoder, style: AnswerStyle, sampling: SamplingSettings
) -> None:
    traced = trace(decoder, style, sampling)
    assert "".join(token.text for token in traced.tokens) == traced.reading.text
    assert [token.end for token in traced.tokens[:-1]] == [False] * (len(traced.tokens) - 1)
    assert traced.tokens[-1].end == (traced.reading.finish_reason == "stop")


def test_probabilities_are_of_the_ways_that_the_passage_leaves(decoder: Decoder) -> None:
    for token in trace(decoder, "span").tokens:
        shares = [math.exp(each.logprob) for each in token.top]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= 1 + 1e-6
        assert math.exp(token.logprob) <= shares[0] + 1e-6
        assert 0 <= token.copied <= 1


def test_the_passages_share_all_probability(decoder: Decoder) -> None:
    weighed = trace(decoder, "span").passages
    assert {each.number for each in weighed} == {1, 2, 3}
    assert sum(each.probability for each in weighed) == pytest.approx(1, abs=1e-4)


def test_rivals_are_spans_of_their_passages_likeliest_first(decoder: Decoder) -> None:
    rivals = trace(decoder, "span").rivals
    assert 1 < len(rivals) <= MAX_RIVALS
    assert all(TEXTS[each.number - 1][each.start : each.end] == each.text for each in rivals)
    assert _descends([each.probability for each in rivals])
    assert len({(each.number, each.start, each.end) for each in rivals}) == len(rivals)


def test_sentences_have_sentences_for_rivals(decoder: Decoder) -> None:
    rivals = trace(decoder, "sentences").rivals
    assert {each.text for each in rivals} <= {
        TEXTS[0],
        TEXTS[2],
        "The queen found gold in the NORTH tower.",
        "It was hidden there.",
    }
    assert sum(each.probability for each in rivals) == pytest.approx(1)
    assert _descends([each.probability for each in rivals])


def test_it_stops_when_cancelled(decoder: Decoder) -> None:
    reader = GroundedReader(decoder, style="span")
    assert reader.trace("who", passages(), GREEDY, alternatives=3, cancelled=lambda: True) is None


def test_settings_that_copying_cannot_honour_are_refused(decoder: Decoder) -> None:
    with pytest.raises(InvalidInput) as error:
        trace(decoder, "span", SamplingSettings(repetition_penalty=1.2))
    assert error.value.field == "repetition_penalty"


def _descends(values: Sequence[float]) -> bool:
    return list(values) == sorted(values, reverse=True)
