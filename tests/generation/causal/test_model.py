import shutil
from pathlib import Path

import msgspec
import pytest

from embeddings.artifact import MANIFEST, WEIGHTS, describe_file
from embeddings.errors import ModelDamaged
from generation.causal.model import CausalModel
from tests.generation.causal.tiny_causal import write_tiny_causal


@pytest.fixture
def artifact(tiny_causal: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_causal, tmp_path / "model"))


def _change(artifact: Path, **changes: object) -> None:
    """Change the graph section of the manifest."""
    manifest = msgspec.json.decode((artifact / MANIFEST).read_bytes())
    manifest["graph"] |= changes
    (artifact / MANIFEST).write_bytes(msgspec.json.encode(manifest))


def test_chat_template_is_read_with_the_model(tmp_path: Path, causal_model: CausalModel) -> None:
    model = CausalModel.load(write_tiny_causal(tmp_path, template="{{ messages }}"), threads=1)
    assert model.chat_template == "{{ messages }}"
    assert causal_model.chat_template is None


def test_altered_file_is_refused(artifact: Path) -> None:
    (artifact / WEIGHTS).write_bytes(b"x" * (artifact / WEIGHTS).stat().st_size)
    with pytest.raises(ModelDamaged, match="SHA-256"):
        CausalModel.load(artifact, threads=1)


def test_missing_file_is_refused(artifact: Path) -> None:
    (artifact / "tokenizer.json").unlink()
    with pytest.raises(ModelDamaged, match=r"no tokenizer\.json"):
        CausalModel.load(artifact, threads=1)


def test_weights_that_are_no_graph_are_refused(artifact: Path) -> None:
    (artifact / WEIGHTS).write_bytes(b"nothing")
    manifest = msgspec.json.decode((artifact / MANIFEST).read_bytes())
    manifest["files"][WEIGHTS] = msgspec.to_builtins(describe_file(artifact / WEIGHTS))
    (artifact / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(ModelDamaged, match="cannot be opened"):
        CausalModel.load(artifact, threads=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": "whole"}, "'whole'"),
        ({"vocabulary_size": 0}, "vocabulary_size"),
        ({"surprise": 1}, "surprise"),
        ({"chat_template": "absent.jinja"}, "absent.jinja"),
        ({"state": [{"name": "0.key", "dtype": "float32", "shape": ["batch", "past"]}]}, "of shape"),
    ],
)
def test_manifest_of_another_kind_is_refused(
    artifact: Path, changes: dict[str, object], message: str
) -> None:
    _change(artifact, **changes)
    with pytest.raises(ModelDamaged, match=message):
        CausalModel.load(artifact, threads=1)
