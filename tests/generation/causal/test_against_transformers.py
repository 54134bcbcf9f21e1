"""Converted decoders say what transformers' `generate` says, in fp32."""

from pathlib import Path
from typing import Any

import pytest
import torch

from generation.causal.model import CausalModel
from generation.causal.requests import ChoiceFinished, GenerationRequest
from generation.sampling import SamplingSettings
from tests.generation.causal.conftest import StartEngine
from tests.generation.causal.reference import choices, random_prompt
from tests.training.causal_fixtures import VOCABULARY, random_decoder, write_decoder
from training.causal_conversion import CausalConversion, convert_decoder
from training.causal_quantisation import Quantisation
from training.causal_source import read_causal_source
from training.encoder_origin import Provenance
from training.parity_texts import BUILT_IN

ARCHITECTURES = ("qwen3", "mistral", "gpt2")  # a plain one, one with a sliding window, one without rotation
PROMPTS = [random_prompt(seed, length, VOCABULARY) for seed, length in ((1, 30), (2, 75), (3, 4))]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[CausalModel, Any]:
    """The converted decoder and transformers' own."""
    root: Path = tmp_path_factory.mktemp(request.param)
    source = read_causal_source(write_decoder(request.param, root / "source"))
    provenance = Provenance("tiny", "made in a test", "Apache-2.0")
    convert_decoder(source, CausalConversion(root / "out", provenance, BUILT_IN, Quantisation("fp32")))
    return CausalModel.load(root / "out", threads=1), random_decoder(request.param)


def _generate(model: Any, prompt: tuple[int, ...], **options: Any) -> list[list[int]]:
    """Answers without their end."""
    with torch.no_grad():
        rows = model.generate(torch.tensor([prompt]), do_sample=False, pad_token_id=2, **options)
    answers = [row[len(prompt) :].tolist() for row in rows]
    return [answer[: answer.index(1)] if 1 in answer else answer for answer in answers]


def test_greedy_answers_are_the_same(pair: tuple[CausalModel, Any], start_engine: StartEngine) -> None:
    converted, original = pair
    engine = start_engine(converted, slots=2, prefill_chunk=16)
    sampling = SamplingSettings(max_tokens=25)
    generations = [engine.submit(GenerationRequest(prompt, sampling)) for prompt in PROMPTS]
    assert [choices(generation) for generation in generations] == [
        _generate(original, prompt, max_new_tokens=25) for prompt in PROMPTS
    ]


@pytest.mark.parametrize("length_penalty", [0.5, 2.0])
def test_best_beams_are_the_same(
    pair: tuple[CausalModel, Any], start_engine: StartEngine, length_penalty: float
) -> None:
    converted, original = pair
    engine = start_engine(converted, slots=8)
    sampling = SamplingSettings(beams=4, n=3, max_tokens=12, length_penalty=length_penalty)
    generations = [engine.submit(GenerationRequest(prompt, sampling)) for prompt in PROMPTS]
    expected = [
        _generate(
            original,
            prompt,
            num_beams=4,
            num_return_sequences=3,
            max_new_tokens=12,
            length_penalty=length_penalty,
        )
        for prompt in PROMPTS
    ]
    assert [choices(generation) for generation in generations] == expected


def test_beams_tell_their_scores_best_first(start_engine: StartEngine) -> None:
    sampling = SamplingSettings(beams=3, n=3, max_tokens=6)
    events = list(start_engine().submit(GenerationRequest(random_prompt(4, 20), sampling)))
    scores = [event.score for event in events if isinstance(event, ChoiceFinished)]
    assert None not in scores
    assert scores == sorted(scores, key=lambda score: -(score or 0.0))
    assert len(events) == 4  # no tokens are told before it is known which they are
