import pytest
import torch

from embeddings.errors import ModelDamaged
from generation.decoder import Decoder
from tests.training.decoder_fixtures import TINY_LAYOUT, seeded_decoder, tiny_artifact_folder, tiny_decoder
from training.decoder_bundle import require_parity
from training.decoder_calibration import calibration_feeds
from training.decoder_data import QaRecord
from training.decoder_parity import largest_difference

FINE = {"fp32_largest_log_prob_difference": 1e-5, "fp32_f1_unrefused": 0.60, "int8_f1_unrefused": 0.595}


@pytest.mark.parametrize(
    "worse",
    [{"fp32_largest_log_prob_difference": 0.01}, {"int8_f1_unrefused": 0.50}],
    ids=["graph differs", "int8 loses"],
)
def test_gate_refuses_a_decoder_that_differs_and_names_the_figures(worse: dict[str, float]) -> None:
    require_parity(FINE)
    with pytest.raises(ModelDamaged, match=str(next(iter(worse.values())))):
        require_parity({**FINE, **worse})


def test_exported_graph_equals_torch() -> None:
    decoder = Decoder.load(tiny_artifact_folder(), threads=1)
    assert decoder.spec.layout == TINY_LAYOUT
    assert largest_difference(seeded_decoder(), decoder) < 1e-4


def test_calibration_sees_prompts_of_one_and_several_passages_and_written_tokens() -> None:
    records = [
        QaRecord("who built the tower", f"The king built tower {n}.", "g", ((4, 8),)) for n in range(4)
    ]
    feeds = calibration_feeds(tiny_artifact_folder(), records, questions=2)
    prompts = [feed for feed in feeds if not feed["past.tokens"].shape[1]]
    assert len(prompts) == 2
    assert len(feeds) > len(prompts)
    assert prompts[0]["input_ids"].shape[1] < prompts[1]["input_ids"].shape[1]


def test_another_models_graph_is_told_apart() -> None:
    decoder = Decoder.load(tiny_artifact_folder(), threads=1)
    torch.manual_seed(3)
    assert largest_difference(tiny_decoder(), decoder) > 1e-2
