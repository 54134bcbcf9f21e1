import numpy as np
import pytest
import torch

from embeddings.errors import ModelDamaged
from generation.decoder import Decoder
from tests.training.decoder_fixtures import TINY_LAYOUT, tiny_decoder, write_tiny_artifact
from training.decoder_bundle import Judged, fit_refusal, require_parity
from training.decoder_parity import largest_difference

FINE = {"fp32_largest_log_prob_difference": 1e-5, "fp32_f1_unrefused": 0.60, "int8_f1_unrefused": 0.595}


def test_threshold_separates_what_can_be_separated() -> None:
    judged = [Judged(p, 1.0, impossible=False) for p in (0.9, 0.8, 0.7)]
    judged += [Judged(p, 0.0, impossible=True) for p in (0.1, 0.2, 0.6)]
    assert 0.6 < fit_refusal(judged) <= 0.7


def test_threshold_refuses_nothing_when_every_question_can_be_answered() -> None:
    assert fit_refusal([Judged(p, 0.5, impossible=False) for p in (0.1, 0.5, 0.9)]) == 0.0


def test_threshold_is_the_best_by_brute_force() -> None:
    rng = np.random.default_rng(0)
    judged = [
        Judged(
            float(np.clip(rng.normal(0.3 if bad else 0.6, 0.2), 0, 1)),
            0.0 if bad else rng.random(),
            bool(bad),
        )
        for bad in rng.random(80) < 0.4
    ]

    def mean_f1(threshold: float) -> float:
        return float(
            np.mean([item.impossible if item.probability < threshold else item.f1 for item in judged])
        )

    best = max(mean_f1(threshold) for threshold in np.linspace(0, 1.01, 2000))
    assert mean_f1(fit_refusal(judged)) == pytest.approx(best, abs=1e-3)


@pytest.mark.parametrize(
    "worse",
    [{"fp32_largest_log_prob_difference": 0.01}, {"int8_f1_unrefused": 0.50}],
    ids=["graph differs", "int8 loses"],
)
def test_gate_refuses_a_decoder_that_differs_and_names_the_figures(worse: dict[str, float]) -> None:
    require_parity(FINE)
    with pytest.raises(ModelDamaged, match=str(next(iter(worse.values())))):
        require_parity({**FINE, **worse})


def test_exported_graph_equals_torch(tmp_path_factory: pytest.TempPathFactory) -> None:
    torch.manual_seed(3)
    model = tiny_decoder()
    decoder = Decoder.load(write_tiny_artifact(model, tmp_path_factory.mktemp("same")), threads=1)
    assert decoder.spec.layout == TINY_LAYOUT
    assert largest_difference(model, decoder) < 1e-4


def test_another_models_graph_is_told_apart(tmp_path_factory: pytest.TempPathFactory) -> None:
    torch.manual_seed(3)
    decoder = Decoder.load(write_tiny_artifact(tiny_decoder(), tmp_path_factory.mktemp("other")), threads=1)
    assert largest_difference(tiny_decoder(), decoder) > 1e-2
