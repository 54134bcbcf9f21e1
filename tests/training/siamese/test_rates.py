import pytest
import torch

from training.siamese.plan import Optimisation
from training.siamese.rates import layer_groups, rate_factor

NAMES = (
    "0.model.embeddings.word_embeddings.weight",
    "0.model.encoder.layer.0.attention.self.query.weight",
    "0.model.encoder.layer.1.output.dense.weight",
    "0.model.encoder.layer.1.output.dense.bias",
    "2.linear.weight",
)


def peaks(layer_decay: float) -> dict[str, tuple[float, float]]:
    parameters = {name: torch.zeros(2) if name.endswith("bias") else torch.zeros(2, 2) for name in NAMES}
    settings = Optimisation(learning_rate=1e-4, layer_decay=layer_decay, weight_decay=0.01)
    return {
        name: (group["peak"], group["weight_decay"])
        for group in layer_groups(parameters.items(), settings)
        for name, parameter in parameters.items()
        if any(parameter is each for each in group["params"])
    }


def test_lower_layers_learn_more_slowly_and_the_last_one_at_the_full_rate() -> None:
    found = peaks(0.5)
    assert [found[name][0] for name in NAMES] == pytest.approx([2.5e-5, 5e-5, 1e-4, 1e-4, 1e-4])


def test_biases_are_not_decayed() -> None:
    assert [peaks(1.0)[name][1] for name in NAMES] == [0.01, 0.01, 0.01, 0.0, 0.01]


def test_rate_rises_over_its_share_then_falls_towards_nothing() -> None:
    rates = [rate_factor(step, 100, 0.1) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[0] > 0
    assert rates[10] == max(rates) == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(1 / 90)
    assert rate_factor(0, 1, 0.1) == 1.0
