"""What goes into a decoder's graph while it answers: on it the scales of the 8-bit one are measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort
import torch

from embeddings.artifact import WEIGHTS
from generation.decoder import Decoder
from generation.reader import GroundedReader
from generation.sampling import SamplingSettings
from generation.types import Passage
from training.decoder_data import QaRecord
from training.static_quantisation import Feed

QUESTIONS = 64
PASSAGES = 3


def calibration_feeds(fp32: Path, records: Sequence[QaRecord], questions: int = QUESTIONS) -> list[Feed]:
    """The feeds of every pass while the decoder of the folder answers some of the records' questions: evenly
    drawn ones, with one passage and with several.
    """
    loaded = Decoder.load(fp32, torch.get_num_threads())
    recorder = _Recorder(ort.InferenceSession(fp32 / WEIGHTS, providers=["CPUExecutionProvider"]))
    reader = GroundedReader(Decoder(recorder, loaded.spec, loaded.tokenizer, loaded.model_id))
    step = max(1, len(records) // questions)
    for number, start in enumerate(range(0, len(records), step)):
        shown = records[start : start + (PASSAGES if number % 2 else 1)]
        passages = [Passage(place, record.context) for place, record in enumerate(shown, start=1)]
        _read(reader, records[start].question, passages)
    return recorder.feeds


def _read(reader: GroundedReader, question: str, passages: Sequence[Passage]) -> None:
    for _ in reader.read(question, passages, SamplingSettings(), refuse_below=None, cancelled=lambda: False):
        pass


class _Recorder:
    """Stands before a session and keeps what goes into it."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self.feeds: list[Feed] = []
        self._session = session

    def run_with_ort_values(self, outputs: Sequence[str], feeds: Mapping[str, Any], options: Any) -> Any:
        self.feeds.append({name: value.numpy().copy() for name, value in feeds.items()})
        return self._session.run_with_ort_values(outputs, feeds, options)
