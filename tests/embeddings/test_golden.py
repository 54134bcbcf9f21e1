import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.artifact import BUNDLED_ENCODER, GOLDEN, describe_file, load_manifest, write_manifest
from embeddings.encoder import Encoder
from embeddings.errors import ModelDamaged
from embeddings.golden import GoldenVectors
from embeddings.sessions import open_session

TEXTS = ("Where is the station?", "Пчёлы собирают нектар.", "会议每年召开两次。")


class ClippedSession:
    """A session whose results stop at a largest number, as products of 16 bits do."""

    def __init__(self, session: Any, limit: float) -> None:
        self._session = session
        self._limit = limit

    def run(self, names: None, feed: dict[str, Any]) -> list[NDArray[np.float32]]:
        return [np.minimum(rows, self._limit) for rows in self._session.run(names, feed)]


def clipping(limit: float, when_exact: bool) -> Callable[[Path, int, bool], Any]:
    """Opens graphs on a processor that multiplies wrongly, also with exact kernels or without them only."""

    def opener(path: Path, exact: bool) -> Any:
        session = open_session(path, exact)
        return ClippedSession(session, limit) if when_exact or not exact else session

    return opener


def write_golden(directory: Path, content: bytes | None = None) -> Path:
    """A copy of the bundled encoder with golden vectors of its own, or with the given file."""
    shutil.copytree(BUNDLED_ENCODER, directory)
    manifest = load_manifest(directory)
    own = Encoder.load(directory).encode(TEXTS, "")
    if content is None:
        GoldenVectors.of(TEXTS, own, own).write(directory)
    else:
        (directory / GOLDEN).write_bytes(content)
    files = manifest.files | {GOLDEN: describe_file(directory / GOLDEN)}
    write_manifest(directory, msgspec.structs.replace(manifest, files=files))
    return directory


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_golden(tmp_path_factory.mktemp("golden") / "encoder")


def test_faithful_processor_uses_the_usual_kernels(artifact: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked = []

    def opener(path: Path, exact: bool) -> Any:
        asked.append(exact)
        return open_session(path, True)  # right on this processor too, whatever it is

    Encoder.load(artifact, opener=opener)
    assert asked == [False]
    assert caplog.messages == []


def test_without_golden_vectors_products_are_exact(tmp_path: Path) -> None:
    """A conversion judges its encoder before it has any, and a processor without VNNI would spoil it."""
    shutil.copytree(BUNDLED_ENCODER, tmp_path / "encoder")
    manifest = load_manifest(tmp_path / "encoder")
    files = {name: file for name, file in manifest.files.items() if name != GOLDEN}
    write_manifest(tmp_path / "encoder", msgspec.structs.replace(manifest, files=files))
    asked = []

    def opener(path: Path, exact: bool) -> Any:
        asked.append(exact)
        return open_session(path, exact)

    Encoder.load(tmp_path / "encoder", opener=opener)
    assert asked == [True]


def test_exact_kernels_agree_with_the_usual_ones_where_those_are_right(artifact: Path) -> None:
    golden = GoldenVectors.read(artifact)
    exact = Encoder.load(artifact, opener=lambda path, _exact: open_session(path, True))
    assert golden.lowest_cosine(exact) > 0.9999


def test_processor_that_multiplies_wrongly_gets_exact_kernels_and_one_warning(
    artifact: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        encoder = Encoder.load(artifact, opener=clipping(0.05, when_exact=False))
    assert GoldenVectors.read(artifact).lowest_cosine(encoder) > 0.9999
    (message,) = caplog.messages
    assert "exact, slower kernels" in message


def test_wrong_vectors_with_every_kernel_are_damage_with_both_figures(artifact: Path) -> None:
    with pytest.raises(ModelDamaged) as refusal:
        Encoder.load(artifact, opener=clipping(0.05, when_exact=True))
    assert refusal.value.found is not None
    figures = [float(word) for word in refusal.value.found.replace(",", "").split() if word.startswith("0.")]
    assert len(figures) == 2
    assert max(figures) < 0.9995


def test_vectors_that_are_not_numbers_are_damage(artifact: Path) -> None:
    with pytest.raises(ModelDamaged, match="other vectors"):
        Encoder.load(artifact, opener=clipping(float("nan"), when_exact=True))


def test_golden_vectors_of_another_model_are_damage(tmp_path: Path) -> None:
    strange = np.random.default_rng(3).normal(size=(len(TEXTS), 384)).astype(np.float32)
    content = msgspec.json.encode(GoldenVectors.of(TEXTS, strange, strange))
    with pytest.raises(ModelDamaged, match="other vectors"):
        Encoder.load(write_golden(tmp_path / "encoder", content))


def test_golden_vectors_of_another_dimension_are_damage(tmp_path: Path) -> None:
    narrow = np.ones((len(TEXTS), 8), dtype=np.float32)
    content = msgspec.json.encode(GoldenVectors.of(TEXTS, narrow, narrow))
    with pytest.raises(ModelDamaged, match="other vectors"):
        Encoder.load(write_golden(tmp_path / "encoder", content))


@pytest.mark.parametrize("content", [b"{", b'{"texts": 3}', b'{"texts": [], "own": "", "fp32": "", "x": 1}'])
def test_broken_golden_file_is_damage_that_names_it(tmp_path: Path, content: bytes) -> None:
    directory = write_golden(tmp_path / "encoder", content)
    with pytest.raises(ModelDamaged, match=r"golden\.json"):
        Encoder.load(directory)


def test_artifact_without_golden_vectors_loads_as_before(tmp_path: Path) -> None:
    plain = shutil.copytree(BUNDLED_ENCODER, tmp_path / "plain")
    manifest = load_manifest(plain)
    files = {name: file for name, file in manifest.files.items() if name != GOLDEN}
    write_manifest(plain, msgspec.structs.replace(manifest, files=files))
    (plain / GOLDEN).unlink(missing_ok=True)
    assert Encoder.load(plain).encode(["cat"], "query").shape == (1, 384)
