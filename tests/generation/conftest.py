from pathlib import Path

import pytest

from generation.decoder import Decoder
from tests.training.decoder_fixtures import tiny_artifact_folder


@pytest.fixture(scope="session")
def tiny_artifact() -> Path:
    """A decoder artifact with random weights: it answers nonsense, but by all the rules."""
    return tiny_artifact_folder()


@pytest.fixture(scope="session")
def decoder(tiny_artifact: Path) -> Decoder:
    return Decoder.load(tiny_artifact, threads=1)
