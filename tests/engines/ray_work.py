"""What actors of the tests hold and do. They import this module and not the tests."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import InvalidInput, ModelDamaged
from embeddings.tokens import TokenIds
from tests.app.hashing_encoder import HashingEncoder


def hold() -> int:
    return os.getpid()


def hold_nothing() -> int:
    raise ModelDamaged("the model is broken")


def note(held: int, folder: str, number: int, seconds: float) -> tuple[int, int]:
    """Leaves a file when it begins."""
    (Path(folder) / f"{number}-{os.getpid()}-{time.monotonic_ns()}").touch()
    time.sleep(seconds)
    return number, held


def refuse(_held: int) -> None:
    raise InvalidInput("no", field="text")


class SlowEncoder(HashingEncoder):
    """Takes its time, as if its texts were long."""

    def run(self, batch: Sequence[TokenIds]) -> NDArray[np.float32]:
        time.sleep(0.05)
        return super().run(batch)


def open_slow_encoder() -> SlowEncoder:
    return SlowEncoder()
