"""What a half-trained decoder would answer where there is no answer: the verdict learns to see through it.

Questions without an answer come with no wrong answer that looks right; the decoder of the stage before makes
the one that it finds likeliest itself (as the plausible answers of SQuAD 2.0's annotators, which these files
leave out).
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from embeddings.artifact import TOKENIZER, WEIGHTS
from generation.decoder import Decoder
from generation.reader import GroundedReader
from generation.sampling import SamplingSettings
from generation.types import Passage, Reading
from training.decoder_bundle import describe, load_model
from training.decoder_data import QaRecord
from training.decoder_export import export_graph
from training.minilm import minilm_directory


def with_plausible_answers(records: Sequence[QaRecord], weights: Path, cache: Path) -> list[QaRecord]:
    """The records; those without an answer have what the decoder of `weights` would say.

    cache: a JSON file where the answers are kept, since a run resumes.
    """
    if not cache.exists():
        unanswerable = [record for record in records if not record.answers]
        cache.write_text(json.dumps(_mine(unanswerable, weights)))
    found = json.loads(cache.read_text())
    return [
        replace(record, plausible=tuple(found[key])) if (key := record_key(record)) in found else record
        for record in records
    ]


def _mine(records: Sequence[QaRecord], weights: Path) -> dict[str, tuple[int, int]]:
    with exported(weights) as folder:
        reader = spans_reader(folder, torch.get_num_threads())
        readings = {record_key(r): likeliest_span(reader, r.question, r.context) for r in records}
    return {key: (reading.start, reading.end) for key, reading in readings.items()}


@contextmanager
def exported(weights: Path) -> Iterator[Path]:
    """A folder with the fp32 artifact of a stage's weights."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, model = Path(scratch), load_model(weights)
        shutil.copyfile(minilm_directory() / TOKENIZER, folder / TOKENIZER)
        export_graph(model, folder / WEIGHTS)
        describe(folder, model.shape, "fp32", {})
        yield folder


def spans_reader(folder: Path, threads: int) -> GroundedReader:
    """A reader that answers with spans."""
    return GroundedReader(Decoder.load(folder, threads), style="span")


def likeliest_span(reader: GroundedReader, question: str, context: str) -> Reading:
    """What the reader would answer from one passage if it could not refuse."""
    *_, reading = reader.read(
        question,
        [Passage(1, context)],
        SamplingSettings(),
        refuse_below=None,
        cancelled=lambda: False,
    )
    if not isinstance(reading, Reading):
        raise TypeError(f"a reader's last step is {type(reading).__name__}, expected Reading")
    return reading


def record_key(record: QaRecord) -> str:
    """Tells records apart in a cache."""
    return hashlib.sha256(f"{record.question}\n{record.context}".encode()).hexdigest()[:16]
