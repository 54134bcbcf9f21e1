import pytest

from embeddings.artifact import BUNDLED_ENCODER
from embeddings.encoder import Encoder


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return Encoder.load(BUNDLED_ENCODER, threads=1)
