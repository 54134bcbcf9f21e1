"""Constraints in the engine: respected by every strategy, and cheap where they leave no choice."""

import json
import re

import pytest

from generation.causal.constraints import ConstraintCompiler
from generation.causal.engine import CausalEngine
from generation.causal.model import CausalModel
from generation.causal.requests import ChoiceFinished, GenerationRequest
from generation.sampling import SamplingSettings
from tests.generation.causal.conftest import StartEngine
from tests.generation.causal.reference import random_prompt

SCHEMA = {
    "type": "object",
    "properties": {"a rather long name of a field": {"enum": ["yes", "no"]}},
    "required": ["a rather long name of a field"],
    "additionalProperties": False,
}


@pytest.fixture
def compiler(causal_model: CausalModel) -> ConstraintCompiler:
    spec = causal_model.spec
    return ConstraintCompiler(causal_model.tokenizer, spec.vocabulary_size, spec.eos)


def _ended(engine: CausalEngine, request: GenerationRequest) -> list[ChoiceFinished]:
    return [event for event in engine.submit(request) if isinstance(event, ChoiceFinished)]


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingSettings(max_tokens=120),
        SamplingSettings(max_tokens=120, temperature=1.5, seed=3, n=2),
        SamplingSettings(max_tokens=120, beams=2, n=2),
    ],
)
def test_every_choice_keeps_to_the_schema(
    start_engine: StartEngine, compiler: ConstraintCompiler, sampling: SamplingSettings
) -> None:
    request = GenerationRequest(random_prompt(1, 30), sampling, compiler.json_schema(SCHEMA))
    ended = _ended(start_engine(slots=4), request)
    assert len(ended) == sampling.n
    for choice in ended:
        assert json.loads(choice.text)["a rather long name of a field"] in {"yes", "no"}
        assert choice.finish_reason == "stop"


def test_pattern_is_kept_beside_free_neighbours(
    start_engine: StartEngine, compiler: ConstraintCompiler
) -> None:
    engine = start_engine(slots=2)
    free = engine.submit(
        GenerationRequest(random_prompt(2, 30), SamplingSettings(max_tokens=200, ignore_eos=True))
    )
    request = GenerationRequest(
        random_prompt(3, 30), SamplingSettings(max_tokens=40), compiler.regex("[a-c]{3}-[0-9]{4}")
    )
    (choice,) = _ended(engine, request)
    assert re.fullmatch("[a-c]{3}-[0-9]{4}", choice.text)
    free.cancel()


def test_tokens_that_are_forced_share_passes(start_engine: StartEngine, compiler: ConstraintCompiler) -> None:
    engine = start_engine()
    request = GenerationRequest(
        random_prompt(4, 30), SamplingSettings(max_tokens=120), compiler.json_schema(SCHEMA), lookup=False
    )
    (choice,) = _ended(engine, request)
    decoding = engine.statistics().decoding
    assert decoding.accepted > 0
    assert decoding.passes < len(choice.token_ids)


def test_forced_tokens_have_the_models_logprobs(
    start_engine: StartEngine, compiler: ConstraintCompiler
) -> None:
    sampling = SamplingSettings(max_tokens=120, logprobs=0)
    request = GenerationRequest(random_prompt(5, 30), sampling, compiler.choice(["exactly this"]))
    told = [event for event in start_engine().submit(request) if hasattr(event, "logprob")]
    assert told
    assert all(event.logprob < 0 for event in told)
