"""Golden vectors: what an artifact gave for a few texts where its arithmetic was right.

The 8-bit products of processors without VNNI add pairs in 16 bits and stop at the largest number: nothing
fails, but the vectors are wrong. ONNX Runtime has exact kernels for them, which take longer.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, Self, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from embeddings.artifact import GOLDEN
from embeddings.errors import ModelDamaged
from embeddings.vectors import unit_rows

Vectors = NDArray[np.float32]

# Of the worst text. An emulated Haswell with exact kernels agreed with AVX-512 VNNI to 1.00000 (qemu-x86_64
# -cpu Haswell, all-MiniLM-L6-v2); with products that stop it kept .9963 to .9980 where scales are measured
# once, and .967 to .992 where they are measured in each run.
LOWEST_COSINE = 0.9995

logger = logging.getLogger("footnote.embeddings.golden")


class Encoding(Protocol):
    """What is asked of an encoder here."""

    def encode(self, texts: Sequence[str], prompt: str) -> Vectors:
        """Unit rows (n, dimension)."""


E = TypeVar("E", bound=Encoding)


class GoldenVectors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The contents of golden.json.

    own, fp32: unit rows (texts, dimension) as little-endian float32, of the artifact's graph and of the fp32
    graph that it was made from.
    """

    texts: tuple[str, ...]
    own: bytes
    fp32: bytes

    @classmethod
    def of(cls, texts: Sequence[str], own: Vectors, fp32: Vectors) -> Self:
        return cls(tuple(texts), own.astype("<f4").tobytes(), fp32.astype("<f4").tobytes())

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Raises ModelDamaged."""
        try:
            return msgspec.json.decode((directory / GOLDEN).read_bytes(), type=cls)
        except msgspec.MsgspecError as error:
            raise ModelDamaged(f"{directory / GOLDEN}: {error}", expected="golden vectors") from error

    def write(self, directory: Path) -> None:
        (directory / GOLDEN).write_bytes(msgspec.json.encode(self))

    def lowest_cosine(self, encoder: Encoding) -> float:
        """Between what the encoder gives for a text and what it gave; NaN counts as -1."""
        found = unit_rows(encoder.encode(self.texts, ""))
        if len(self.own) != 4 * found.size:  # of another dimension
            return -1.0
        expected = np.frombuffer(self.own, dtype="<f4").reshape(found.shape)
        cosines = np.einsum("nd,nd->n", found, expected)
        return float(np.nan_to_num(cosines, nan=-1.0).min(initial=1.0))


def first_faithful(golden: GoldenVectors, directory: Path, opened: Callable[[bool], E]) -> E:
    """The encoder as usual if it gives the golden vectors, else with exact products.

    opened: opens it; told whether products have to be exact.
    Raises ModelDamaged when even exact products give other vectors.
    """
    encoder = opened(False)
    usual = golden.lowest_cosine(encoder)
    if usual >= LOWEST_COSINE:
        return encoder
    encoder = opened(True)
    exact = golden.lowest_cosine(encoder)
    if exact >= LOWEST_COSINE:
        logger.warning(
            "this processor multiplies 8-bit numbers inexactly (cosine %.4f to the golden vectors of %s):"
            " exact, slower kernels are in use",
            usual,
            directory,
        )
        return encoder
    raise ModelDamaged(
        f"the model in {directory} gives other vectors here than where it was made",
        found=f"lowest cosine {usual:.4f} to its golden vectors, {exact:.4f} with exact kernels",
        expected=f"at least {LOWEST_COSINE}",
        next_step="convert the model again on this machine, with --precision fp32 if int8 fails again",
    )
