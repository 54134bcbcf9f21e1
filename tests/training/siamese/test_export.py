from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from embeddings.artifact import ModelManifest
from embeddings.encoder import Encoder
from embeddings.errors import ModelDamaged
from tests.training.encoder_fixtures import TEXTS, write_encoder
from training.parity_texts import BUILT_IN
from training.siamese import export
from training.siamese.export import base_of, collection_texts, export_encoder, provenance
from training.siamese.folder import CHECKPOINT
from training.siamese.plan import Objective, TrainingPlan

PLAN = TrainingPlan(name="mine", licence="CC0-1.0", objective=Objective(matryoshka_dimensions=(32, 16)))
# Random layers of 32 numbers lose more by int8 than trained ones.
LOOSE = export.ParityBounds(lowest_cosine=0.5, mean_cosine=0.5, top10_overlap=0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder("bert", tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def exported(model: Path) -> tuple[Path, ModelManifest]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "BOUNDS", LOOSE)
        output = model.parent / "artifact"
        return output, export_encoder(model, output, PLAN, TEXTS, {"objective": {"name": "A", "why": "b"}})


def test_artifact_is_served_and_gives_nearly_the_models_vectors(
    model: Path, exported: tuple[Path, ModelManifest]
) -> None:
    found = Encoder.load(exported[0]).encode(list(TEXTS), "passage")

    expected = SentenceTransformer(str(model), device="cpu").encode(list(TEXTS), normalize_embeddings=True)
    assert np.einsum("nd,nd->n", found, expected).mean() > 0.9


def test_manifest_says_what_it_is_and_how_near_it_came(exported: tuple[Path, ModelManifest]) -> None:
    _, manifest = exported
    assert (manifest.name, manifest.licence, manifest.precision) == ("mine", "CC0-1.0", "int8")
    assert "retrained by Footnote from all-MiniLM-L6-v2 (licence Apache-2.0" in manifest.source
    assert manifest.encoder is not None
    assert manifest.encoder.matryoshka_dimensions == (16,)
    assert "collection" in manifest.parity["int8_vs_fp32_graph"]


def test_next_training_can_go_on_from_the_checkpoint(
    model: Path, exported: tuple[Path, ModelManifest]
) -> None:
    again = SentenceTransformer(str(exported[0] / CHECKPOINT), device="cpu")

    first = SentenceTransformer(str(model), device="cpu")
    np.testing.assert_array_equal(again.encode(["some text"]), first.encode(["some text"]))
    base = base_of(TrainingPlan(name="next", base=str(exported[0] / CHECKPOINT)))
    assert (base.name, base.licence) == (exported[1].model_id, "CC0-1.0")


def test_card_tells_of_the_training(exported: tuple[Path, ModelManifest]) -> None:
    card = (exported[0] / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# mine, int8")
    assert "A: b." in card


def test_model_that_strays_leaves_no_artifact(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "BOUNDS", export.ParityBounds(fp32_difference=-1))
    with pytest.raises(ModelDamaged):
        export_encoder(model, tmp_path / "artifact", PLAN, TEXTS, {})
    assert list(tmp_path.iterdir()) == []


def test_other_base_is_named_with_its_checksum(model: Path) -> None:
    source = provenance(TrainingPlan(name="mine", base=str(model))).source
    assert (
        "retrained by Footnote from model (licence not stated; model, model.safetensors with SHA-256"
        in source
    )


def test_scales_are_not_measured_on_compared_texts() -> None:
    texts = [f"Title {number}\nsome words about number {number}" for number in range(1_000)]

    (sample,) = collection_texts(texts)

    assert sample == collection_texts(texts)[0]
    assert not set(sample.passages) & set(sample.calibration)
    assert len(sample.passages) > 100
    assert all(query.startswith("Title") and "\n" not in query for query in sample.queries)


def test_small_collection_still_keeps_texts_apart_and_a_tiny_one_borrows() -> None:
    (sample,) = collection_texts([f"text {number}" for number in range(30)])
    assert (len(sample.passages), len(sample.calibration)) == (24, 6)
    assert collection_texts(["one", "one", "two", " "]) == BUILT_IN[:1]
