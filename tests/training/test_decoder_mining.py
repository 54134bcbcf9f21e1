from pathlib import Path

import pytest
import torch

from generation.decoder import Decoder
from generation.reader import GroundedReader
from tests.training.decoder_fixtures import tiny_decoder, write_tiny_artifact
from training import decoder_mining
from training.decoder_data import QaRecord
from training.decoder_mining import with_plausible_answers

CONTEXT = "The king built the tower. The queen built the bridge in 1871."
ANSWERED = QaRecord("who built the tower", CONTEXT, "g", ((4, 8),))
UNANSWERED = QaRecord("who built the harbour", CONTEXT, "g", ())


@pytest.fixture
def tiny_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder that is mined with is one of random weights."""
    torch.manual_seed(0)
    reader = GroundedReader(Decoder.load(write_tiny_artifact(tiny_decoder(), tmp_path), threads=1))

    def mine(records: list[QaRecord], weights: Path) -> dict[str, tuple[int, int]]:
        return {
            decoder_mining._key(record): decoder_mining._would_answer(reader, record) for record in records
        }

    monkeypatch.setattr(decoder_mining, "_mine", mine)


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
    monkeypatch.delattr(decoder_mining, "_mine")
    assert with_plausible_answers([UNANSWERED], tmp_path / "w.pt", tmp_path / "plausible.json") == first
