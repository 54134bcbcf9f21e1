"""A classifier's head and its files; no encoder is needed for either."""

from pathlib import Path

import numpy as np
import pytest

from embeddings.classifier import (
    CLASSIFIER,
    HEAD,
    Head,
    ManifestFields,
    centroid_head,
    read_head,
    read_manifest,
    require_encoder,
    write_classifier,
)
from embeddings.errors import InvalidInput, ModelDamaged
from embeddings.vectors import unit_rows

FIELDS = ManifestFields("intents", "tests", "Apache-2.0", "encoder@1", "", {"texts": 4})


class FakeEncoder:
    model_id = "encoder@1"
    dimension = 2


@pytest.fixture
def head() -> Head:
    weights = np.array([[2.0, 0.0], [0.0, 2.0], [-1.0, -1.0]], np.float32)
    return Head(("card", "loan", "other"), weights, np.array([0.0, 0.5, 0.0], np.float32))


def test_probabilities_are_the_softmax_of_the_scores(head: Head) -> None:
    rows = unit_rows(np.array([[1.0, 0.0], [0.6, 0.8]], np.float32))
    scores = rows.astype(np.float64) @ head.weights.T + head.bias
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(head.probabilities(rows), expected, atol=1e-6)


def test_large_scores_do_not_overflow() -> None:
    steep = Head(("a", "b"), np.array([[1e4], [-1e4]], np.float32), np.zeros(2, np.float32))
    assert steep.probabilities(np.array([[1.0]], np.float32)).tolist() == [[1.0, 0.0]]


def test_centroids_choose_the_nearest_mean_of_examples() -> None:
    examples = unit_rows(np.array([[1, 0.1], [1, -0.1], [0.1, 1], [-0.1, 1]], np.float32))
    made = centroid_head(examples, ["x", "x", "y", "y"])
    found = made.probabilities(unit_rows(np.array([[3, 1], [1, 3]], np.float32)))
    assert [made.labels[place] for place in found.argmax(axis=1)] == ["x", "y"]


def test_examples_of_one_label_make_no_classifier() -> None:
    with pytest.raises(InvalidInput) as error:
        centroid_head(np.eye(2, dtype=np.float32), ["x", "x"])
    assert error.value.found == "x"


def test_a_written_head_is_read_back(tmp_path: Path, head: Head) -> None:
    written = write_classifier(tmp_path, head, FIELDS, {"accuracy": 0.5})
    manifest = read_manifest(tmp_path)
    assert manifest == written
    found = read_head(tmp_path, manifest)
    assert found.labels == head.labels
    np.testing.assert_array_equal(found.weights, head.weights)
    np.testing.assert_array_equal(found.bias, head.bias)


def test_two_heads_never_share_an_id(tmp_path: Path, head: Head) -> None:
    first = write_classifier(tmp_path, head, FIELDS).classifier_id
    second = write_classifier(tmp_path, Head(head.labels, head.weights * 2, head.bias), FIELDS).classifier_id
    assert first != second


def test_a_changed_head_is_refused(tmp_path: Path, head: Head) -> None:
    manifest = write_classifier(tmp_path, head, FIELDS)
    content = bytearray((tmp_path / HEAD).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / HEAD).write_bytes(content)
    with pytest.raises(ModelDamaged):
        read_head(tmp_path, manifest)


def test_a_head_that_does_not_fit_its_labels_is_refused(tmp_path: Path, head: Head) -> None:
    manifest = write_classifier(tmp_path, Head(("a", "b"), head.weights, head.bias), FIELDS)
    with pytest.raises(ModelDamaged, match="2 rows"):
        read_head(tmp_path, manifest)


def test_a_broken_manifest_is_refused(tmp_path: Path, head: Head) -> None:
    write_classifier(tmp_path, head, FIELDS)
    (tmp_path / CLASSIFIER).write_text('{"name": "x"}')
    with pytest.raises(ModelDamaged):
        read_manifest(tmp_path)


def test_another_encoder_is_refused(tmp_path: Path, head: Head) -> None:
    manifest = write_classifier(tmp_path, head, FIELDS)
    require_encoder(tmp_path, manifest, head, FakeEncoder())
    other = FakeEncoder()
    other.model_id = "encoder@2"
    with pytest.raises(ModelDamaged, match="encoder@2"):
        require_encoder(tmp_path, manifest, head, other)
