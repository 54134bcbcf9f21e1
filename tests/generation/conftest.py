from pathlib import Path

import pytest
import torch

from generation.decoder import Decoder
from tests.training.decoder_fixtures import tiny_decoder, write_tiny_artifact


@pytest.fixture(scope="session")
def tiny_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder artifact with random weights: it answers nonsense, but by all the rules."""
    torch.manual_seed(5)
    return write_tiny_artifact(tiny_decoder(), tmp_path_factory.mktemp("decoder"))


@pytest.fixture(scope="session")
def decoder(tiny_artifact: Path) -> Decoder:
    return Decoder.load(tiny_artifact, threads=1)
