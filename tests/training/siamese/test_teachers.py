from pathlib import Path

import msgspec
import numpy as np
import pytest
from sentence_transformers import CrossEncoder

from embeddings.errors import InvalidInput
from tests.training.reranker_fixtures import write_reranker
from tests.training.siamese.model_fixtures import encoder, encoder_folder, triplets
from training.siamese.examples import examples_for
from training.siamese.fitting import Watch, fit
from training.siamese.plan import Objective, Optimisation
from training.siamese.teachers import guide_of, with_margins

EXAMPLES = examples_for("MarginMSE", triplets(), 1)[:12]
MARGIN_MSE = Objective(name="MarginMSE")


def test_base_encoders_margins_are_raised_to_what_the_labels_promise() -> None:
    model = encoder()
    vectors = [model.encode(list(texts)) for texts in zip(*(each.texts for each in EXAMPLES), strict=True)]
    query, positive, negative = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in vectors)
    own = (query * (positive - negative)).sum(1)
    found = [each.label for each in with_margins(model, EXAMPLES, MARGIN_MSE, 64)]
    np.testing.assert_allclose(found, np.maximum(own, 0.2), atol=5e-3)


def test_named_encoder_teaches_its_own_margins() -> None:
    teacher = msgspec.structs.replace(MARGIN_MSE, teacher=str(encoder_folder("distilbert")))
    first = [each.label for each in with_margins(encoder(), EXAMPLES, teacher, 64)]
    second = [each.label for each in with_margins(encoder("roberta"), EXAMPLES, teacher, 64)]
    assert first == second
    assert min(first) < 0.2


def test_cross_encoders_scores_are_probabilities(tmp_path: Path) -> None:
    folder = write_reranker("bert", tmp_path / "one")
    teacher = CrossEncoder(str(folder), device="cpu")
    scores = teacher.predict([(each.texts[0], text) for each in EXAMPLES for text in each.texts[1:]])
    objective = msgspec.structs.replace(MARGIN_MSE, teacher=str(folder))
    found = [each.label for each in with_margins(encoder(), EXAMPLES, objective, 64)]
    np.testing.assert_allclose(found, scores[::2] - scores[1::2], atol=1e-5)
    assert scores.min() >= 0
    assert scores.max() <= 1


def test_cross_encoder_with_several_scores_is_refused(tmp_path: Path) -> None:
    objective = msgspec.structs.replace(MARGIN_MSE, teacher=str(write_reranker("bert", tmp_path, labels=3)))
    with pytest.raises(InvalidInput, match="more than one score"):
        with_margins(encoder(), EXAMPLES, objective, 64)


@pytest.mark.parametrize("name", ["MarginMSE", "GIST"])
def test_folder_without_a_model_is_named(name: str, tmp_path: Path) -> None:
    objective = Objective(name=name, teacher=str(tmp_path))
    with pytest.raises(InvalidInput) as error:
        with_margins(encoder(), EXAMPLES, objective, 64) if name == "MarginMSE" else guide_of(
            encoder(), objective
        )
    assert error.value.field == "objective.teacher"


@pytest.mark.parametrize("name", ["MarginMSE", "GIST"])
def test_taught_objectives_train(name: str, tmp_path: Path) -> None:
    settings = Optimisation(epochs=1, batch_examples=16, max_tokens=32)
    report = fit(encoder(), triplets(), Objective(name=name), settings, Watch(tmp_path))
    assert report.steps > 1
    assert report.objective == name
