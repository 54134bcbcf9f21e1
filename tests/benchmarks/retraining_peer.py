"""The same examples given to sentence-transformers' own training script, measured on the same queries."""

import json
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.environments import PEERS, interpreter
from training.minilm import minilm_directory
from training.siamese.reading import read_sources
from training.siamese.types import TrainingData

PEER = "sentence_transformers"
SCRIPT = PEERS / "sentence_transformers_retraining.py"


class PlainEncoder:
    """A folder of sentence-transformers as the benchmark knows encoders: fp32, as its users serve it."""

    def __init__(self, folder: Path) -> None:
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - seconds of import

        self._model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        self.dimension = self._model.get_embedding_dimension()

    def encode(self, texts: Iterable[str], role: str = "passage") -> NDArray[np.float32]:
        """Unit vectors (n, d)."""
        vectors: NDArray[np.float32] = self._model.encode(list(texts), normalize_embeddings=True)
        return vectors

    def vocabulary_coverage(self, _text: str) -> float:
        """Dense search alone is measured, which does not ask for it."""
        return 1.0


def train_peer(folder: Path, sources: Sequence[str]) -> float:
    """Fine-tune into `folder/peer` unless that was done before; returns the seconds that training took.

    Raises PeerUnavailable when its environment cannot be made.
    """
    told = folder / "peer.json"
    if not told.is_file():
        examples = folder / "peer-examples.json"
        examples.write_text(json.dumps(columns_of(read_sources(sources))), encoding="utf-8")
        command = [interpreter(PEER), SCRIPT, minilm_directory(), examples, folder / "peer"]
        done = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True)
        told.write_text(done.stdout.splitlines()[-1], encoding="utf-8")
    return float(json.loads(told.read_text())["seconds"])


def columns_of(data: TrainingData) -> dict[str, list[Any]]:
    """Examples as columns; labels are numbers there."""
    if data.labelled:
        names = sorted({each.label for each in data.labelled})
        labels = [names.index(each.label) for each in data.labelled]
        return {"text": [each.text for each in data.labelled], "label": labels}
    return {"query": [pair.query for pair in data.pairs], "passage": [pair.positive for pair in data.pairs]}
