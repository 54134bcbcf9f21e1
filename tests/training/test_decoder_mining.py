from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.training.decoder_fixtures import tiny_artifact_folder
from training import decoder_mining, decoder_pairs
from training.decoder_data import QaRecord
from training.decoder_mining import with_plausible_answers
from training.decoder_pairs import with_found_spans

CONTEXT = "The king built the tower. The queen built the bridge in 1871."
ANSWERED = QaRecord("who built the tower", CONTEXT, "g", ((4, 8),))
UNANSWERED = QaRecord("who built the harbour", CONTEXT, "g", ())


@pytest.fixture
def tiny_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder that is mined with is one of random weights."""
    for module in (decoder_mining, decoder_pairs):
        monkeypatch.setattr(module, "exported", lambda weights: nullcontext(tiny_artifact_folder()))


@pytest.mark.usefixtures("tiny_reader")
def test_question_without_an_answer_gets_what_the_decoder_would_say(tmp_path: Path) -> None:
    answered, unanswered = with_plausible_answers(
        [ANSWERED, UNANSWERED], tmp_path / "weights.pt", tmp_path / "plausible.json"
    )
    assert answered == ANSWERED
    assert unanswered.plausible is not None
    start, end = unanswered.plausible
    assert CONTEXT[start:end].strip() == CONTEXT[start:end] != ""
    assert unanswered.answers == ()


@pytest.mark.usefixtures("tiny_reader")
def test_a_resumed_run_reads_what_was_mined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = with_plausible_answers([UNANSWERED], tmp_path / "w.pt", tmp_path / "plausible.json")
    monkeypatch.delattr(decoder_mining, "exported")
    assert with_plausible_answers([UNANSWERED], tmp_path / "w.pt", tmp_path / "plausible.json") == first


SECOND_SENTENCE = (26, len(CONTEXT))
PAIR = QaRecord("what was built in 1871", CONTEXT, "g", (SECOND_SENTENCE,), "sentences")


@pytest.mark.usefixtures("tiny_reader")
def test_words_of_the_sentence_that_the_decoder_finds_become_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder_pairs, "MIN_LOG_LIKELIHOOD", float("-inf"))
    (found,) = with_found_spans([PAIR], tmp_path / "weights.pt", tmp_path / "pairs.json")
    ((start, end),) = found.answers
    assert SECOND_SENTENCE[0] <= start < end <= SECOND_SENTENCE[1]
    assert (found.question, found.context, found.style) == (PAIR.question, CONTEXT, "span")


@pytest.mark.usefixtures("tiny_reader")
def test_pair_that_the_decoder_is_unsure_of_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder_pairs, "MIN_LOG_LIKELIHOOD", 0.1)  # no likelihood is above 1
    assert with_found_spans([PAIR], tmp_path / "weights.pt", tmp_path / "pairs.json") == []
