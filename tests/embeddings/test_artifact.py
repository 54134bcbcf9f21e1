import json
import shutil
from pathlib import Path

import pytest

from embeddings.artifact import (
    BUNDLED_ENCODER,
    MANIFEST,
    WEIGHTS,
    EncoderSpec,
    ModelManifest,
    describe_file,
    load_manifest,
    write_manifest,
)
from embeddings.errors import ModelDamaged


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    (tmp_path / WEIGHTS).write_bytes(b"weights of a very small model")
    manifest = ModelManifest(
        name="tiny",
        kind="encoder",
        source="a test",
        licence="Apache-2.0",
        precision="fp32",
        files={WEIGHTS: describe_file(tmp_path / WEIGHTS)},
        encoder=EncoderSpec(dimension=4, max_tokens=8, pooling="mean"),
    )
    write_manifest(tmp_path, manifest)
    return tmp_path


def edit_manifest(artifact: Path, **changes: object) -> None:
    path = artifact / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_written_manifest_is_read_back(artifact: Path) -> None:
    manifest = load_manifest(artifact)
    assert manifest.encoder is not None
    assert manifest.encoder.max_tokens == 8
    assert manifest.model_id == f"tiny@{describe_file(artifact / WEIGHTS).sha256[:12]}"


def test_missing_manifest_is_damage_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ModelDamaged, match=r"manifest\.json"):
        load_manifest(tmp_path)


def test_missing_directory_is_damage(tmp_path: Path) -> None:
    with pytest.raises(ModelDamaged):
        load_manifest(tmp_path / "absent")


def test_unknown_manifest_key_is_refused(artifact: Path) -> None:
    edit_manifest(artifact, colour="blue")
    with pytest.raises(ModelDamaged, match="colour"):
        load_manifest(artifact)


def test_manifest_that_is_not_json_is_refused(artifact: Path) -> None:
    (artifact / MANIFEST).write_text("{")
    with pytest.raises(ModelDamaged, match=r"manifest\.json"):
        load_manifest(artifact)


def test_changed_byte_of_the_weights_is_found(artifact: Path) -> None:
    content = bytearray((artifact / WEIGHTS).read_bytes())
    content[3] ^= 1
    (artifact / WEIGHTS).write_bytes(bytes(content))
    with pytest.raises(ModelDamaged, match="SHA-256"):
        load_manifest(artifact)


def test_truncated_weights_are_told_by_both_sizes(artifact: Path) -> None:
    (artifact / WEIGHTS).write_bytes(b"weights")
    with pytest.raises(ModelDamaged, match="7 bytes, expected 29 bytes"):
        load_manifest(artifact)


def test_missing_weights_are_found(artifact: Path) -> None:
    (artifact / WEIGHTS).unlink()
    with pytest.raises(ModelDamaged, match=WEIGHTS):
        load_manifest(artifact)


def test_weights_absent_from_the_list_are_refused(artifact: Path) -> None:
    edit_manifest(artifact, files={})
    with pytest.raises(ModelDamaged, match=WEIGHTS):
        load_manifest(artifact)


def test_file_outside_the_directory_is_refused(artifact: Path) -> None:
    outside = artifact.parent / "outside.txt"
    outside.write_text("secret")
    described = describe_file(outside)
    weights = describe_file(artifact / WEIGHTS)
    edit_manifest(
        artifact,
        files={
            name: {"size_bytes": file.size_bytes, "sha256": file.sha256}
            for name, file in ((WEIGHTS, weights), ("../outside.txt", described))
        },
    )
    with pytest.raises(ModelDamaged, match="outside"):
        load_manifest(artifact)


def test_bundled_encoder_is_whole_and_says_where_it_comes_from() -> None:
    manifest = load_manifest(BUNDLED_ENCODER)
    assert manifest.licence == "Apache-2.0"
    assert "all-MiniLM-L6-v2" in manifest.source
    assert manifest.parity["fp32_graph_vs_original"]["en"]["lowest_cosine"] > 0.9999


def test_copy_of_the_bundled_encoder_has_the_same_identity(tmp_path: Path) -> None:
    copy = shutil.copytree(BUNDLED_ENCODER, tmp_path / "copy")
    assert load_manifest(copy).model_id == load_manifest(BUNDLED_ENCODER).model_id
