"""Every architecture, converted and compared with sentence-transformers itself."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from embeddings.artifact import load_manifest
from embeddings.encoder import Encoder
from embeddings.golden import GoldenVectors
from tests.training.encoder_fixtures import ARCHITECTURES, MAX_TOKENS, PARITY, TEXTS, write_encoder
from training.encoder_conversion import Conversion, convert_encoder
from training.encoder_origin import Provenance
from training.encoder_source import read_source

# One word, nothing, sentences of three scripts, and one text that no model here can take whole.
SAMPLE = ("water", "", *TEXTS[::5], " ".join(TEXTS[:12]))


@pytest.fixture(scope="module", params=ARCHITECTURES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def converted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("converted") / "int8"
    convert_encoder(read_source(folder), Conversion(output, Provenance("tiny", "a test", "none"), PARITY))
    return output


def by_original(folder: Path, texts: tuple[str, ...]) -> NDArray[np.float32]:
    original = SentenceTransformer(str(folder), device="cpu")
    original.max_seq_length = MAX_TOKENS
    vectors: NDArray[np.float32] = original.encode(list(texts), normalize_embeddings=True)
    return vectors


def test_int8_encoder_says_what_the_original_says(folder: Path, converted: Path) -> None:
    encoder = Encoder.load(converted)
    assert [text.truncated for text in encoder.tokenize(SAMPLE)] == [False] * (len(SAMPLE) - 1) + [True]
    found, expected = encoder.encode(SAMPLE, "passage"), by_original(folder, SAMPLE)
    assert np.einsum("nd,nd->n", found, expected).min() > 0.99
    assert (found @ expected.T).argmax(axis=1).tolist() == list(range(len(SAMPLE)))


def test_fp32_graph_gives_the_originals_numbers(folder: Path, converted: Path) -> None:
    golden = GoldenVectors.read(converted)
    found = np.frombuffer(golden.fp32, dtype="<f4").reshape(len(golden.texts), -1)
    np.testing.assert_allclose(found, by_original(folder, golden.texts), atol=1e-5)


def test_position_table_bounds_the_length(converted: Path) -> None:
    spec = load_manifest(converted).encoder
    assert spec is not None
    assert spec.max_tokens == MAX_TOKENS
