"""Confidence: a logistic regression over the signals of a reading."""

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.errors import InvalidInput
from generation.confidence import SIGNAL_NAMES, ConfidenceModel, Signals, fit_confidence, recalibrated


def signals(**given: float) -> Signals:
    return Signals(**{name: given.get(name, 0.0) for name in SIGNAL_NAMES})


def drawn(count: int, seed: int = 0) -> tuple[list[Signals], NDArray[np.bool_]]:
    """Signals of unlike sizes, and labels that follow three of them with noise."""
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(count, len(SIGNAL_NAMES))) * (3, 3, 9, 2, 0.3, 4, 2, 0.5) + (
        1,
        0,
        -9,
        4,
        1,
        5,
        3,
        1,
    )
    logits = 0.8 * table[:, 0] + 0.2 * table[:, 1] + 2 * table[:, 4] - 2
    return [Signals(*row) for row in table.tolist()], rng.random(count) < 1 / (1 + np.exp(-logits))


def test_the_optimum_is_that_of_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model", reason="comes with the training stack")
    rows, right = drawn(800)
    table = np.array([[getattr(row, name) for name in SIGNAL_NAMES] for row in rows])
    standard = (table - table.mean(axis=0)) / table.std(axis=0)
    theirs = linear_model.LogisticRegression(C=1 / 3, tol=1e-10, max_iter=1000).fit(standard, right)
    ours = fit_confidence(rows, right, l2=3.0)
    found = [ours.probability(row) for row in rows]
    assert found == pytest.approx(theirs.predict_proba(standard)[:, 1], abs=1e-6)


def test_weights_are_those_that_drew_the_labels() -> None:
    model = fit_confidence(*drawn(20_000), l2=0.1)
    expected = {
        **dict.fromkeys(SIGNAL_NAMES, 0.0),
        "answer_logit": 0.8,
        "verdict_logit": 0.2,
        "coverage": 2.0,
    }
    assert model.weights == pytest.approx(expected, abs=0.1)


def test_same_input_gives_the_same_model() -> None:
    assert fit_confidence(*drawn(300), l2=1.0) == fit_confidence(*drawn(300), l2=1.0)


def test_classes_that_lie_apart_still_give_finite_weights() -> None:
    rows = [signals(answer_logit=logit) for logit in (-50.0, -49.0, 1000.0, 1001.0)]
    model = fit_confidence(rows, [False, False, True, True], l2=1e-6)
    assert model.probability(rows[0]) < 0.01
    assert model.probability(rows[3]) > 0.99


def test_a_signal_that_never_changes_counts_for_nothing() -> None:
    rows = [signals(answer_logit=float(i % 7), passages=1.0) for i in range(50)]
    model = fit_confidence(rows, [i % 7 > 2 for i in range(50)], l2=1.0)
    assert model.weights["passages"] == 0.0
    assert model.weights["answer_logit"] > 0


def test_only_the_named_signals_are_used() -> None:
    rows, right = drawn(300)
    model = fit_confidence(rows, right, l2=1.0, names=("answer_logit", "coverage"))
    assert set(model.weights) == {"answer_logit", "coverage"}


@pytest.mark.parametrize(("right", "missing"), [([False] * 4, "right"), ([True] * 4, "wrong")])
def test_a_missing_class_is_named(right: list[bool], missing: str) -> None:
    with pytest.raises(InvalidInput, match=f"no answer is {missing}"):
        fit_confidence([signals(coverage=i / 4) for i in range(4)], right, l2=1.0)


def test_what_cannot_be_fitted_is_refused() -> None:
    rows = [signals(coverage=0.1), signals(coverage=0.2)]
    with pytest.raises(InvalidInput, match="3 labels"):
        fit_confidence(rows, [True, False, True], l2=1.0)
    with pytest.raises(InvalidInput, match="l2=0"):
        fit_confidence(rows, [True, False], l2=0.0)
    with pytest.raises(InvalidInput, match="out of range"):
        fit_confidence(rows, [0.0, 2.0], l2=1.0)
    with pytest.raises(InvalidInput, match="finite"):
        fit_confidence([*rows, signals(margin=float("inf"))], [True, False, True], l2=1.0)


def test_partly_right_answers_count_in_part() -> None:
    rows = [signals(coverage=value) for value in (0.0, 0.0, 1.0, 1.0)]
    half = fit_confidence(rows, [0.0, 0.5, 0.5, 1.0], l2=1e-6)
    doubled = fit_confidence([*rows, *rows], [0, 0, 0, 1, 1, 0, 1, 1], l2=1e-6)
    assert half.probability(rows[0]) == pytest.approx(0.25, abs=1e-3)
    assert half.probability(rows[3]) == pytest.approx(doubled.probability(rows[3]), abs=1e-3)


def test_recalibration_keeps_the_order_and_mends_the_probabilities() -> None:
    rows, right = drawn(4_000)
    fitted = fit_confidence(rows, right, l2=1.0)
    boasting = ConfidenceModel({name: 3 * weight for name, weight in fitted.weights.items()}, fitted.bias + 4)
    mended = recalibrated(boasting, rows, right)
    assert mended.bias == pytest.approx(fitted.bias, abs=0.05)
    assert mended.weights == pytest.approx(fitted.weights, abs=0.05)
    before = np.argsort([boasting.logit(row) for row in rows])
    assert np.array_equal(before, np.argsort([mended.logit(row) for row in rows]))


def test_extreme_signals_give_probabilities_and_no_overflow() -> None:
    model = ConfidenceModel({"answer_logit": 5.0}, 0.0)
    with np.errstate(all="raise"):
        assert model.probability(signals(answer_logit=1e6)) == 1.0
        assert model.probability(signals(answer_logit=-1e6)) == 0.0


def test_the_model_survives_a_manifest() -> None:
    model = ConfidenceModel({"answer_logit": 0.5, "coverage": 2.0}, -1.0)
    assert msgspec.convert(msgspec.to_builtins(model), ConfidenceModel) == model


@pytest.mark.parametrize("weights", [{"loudness": 1.0}, {"margin": float("nan")}])
def test_a_manifest_with_other_signals_is_refused(weights: dict[str, float]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"weights": weights, "bias": 0.0}, ConfidenceModel)
