"""No text is encoded twice by the encoder in service: written queries and hard negatives are both looked for
among the passages of the collection.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.siamese.types import EncodeTexts

Role = Literal["query", "passage"]


class Remembering:
    """An `EncodeTexts` that keeps every vector, as halves: 40 MB for 50,000 texts at 384 dimensions."""

    def __init__(self, encode: EncodeTexts) -> None:
        self._encode = encode
        self._known: dict[tuple[Role, str], NDArray[np.float16]] = {}

    def __call__(self, texts: Sequence[str], role: Role) -> NDArray[np.float32]:
        new = [text for text in dict.fromkeys(texts) if (role, text) not in self._known]
        if new:
            vectors = self._encode(new, role).astype(np.float16)
            self._known |= {(role, text): row for text, row in zip(new, vectors, strict=True)}
        return np.array([self._known[role, text] for text in texts], np.float32)
