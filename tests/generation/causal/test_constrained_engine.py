"""Constraints in the engine: respected by every strategy, and cheap where they leave no choice."""

import json
import re

import numpy as np
import pytest

from generation.causal.constraints import ConstraintCompiler
from generation.causal.engine import CausalEngine
from generation.causal.model import CausalModel
from generation.causal.requests import ChoiceFinished, GenerationRequest
from generation.sampling import SamplingSettings
from tests.generation.causal.conftest import StartEngine
from tests.generation.causal.reference import random_prompt, read_whole

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


PASSAGES = (
    "The ferry leaves the harbour at eight. In winter it leaves at nine.",
    "Tickets are sold on board.",
)


def _plain(model: CausalModel, request: GenerationRequest) -> list[int]:
    """The most probable allowed token, one by one, without the engine."""
    assert request.constraint is not None
    place, token_ids = request.constraint.copy(), list(request.prompt)
    while len(token_ids) < len(request.prompt) + request.sampling.max_tokens and not place.finished:
        logits = read_whole(model, token_ids)[-1]
        logits[~place.mask()] = -np.inf
        token_ids.append(int(logits.argmax()))
        place.accept(token_ids[-1])
    return token_ids[len(request.prompt) :]


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


def test_reading_ahead_changes_no_grounded_token(
    start_engine: StartEngine, compiler: ConstraintCompiler, causal_model: CausalModel
) -> None:
    prompt = tuple(causal_model.tokenizer.encode(" ".join(PASSAGES)).ids)
    grounded = compiler.grounded(PASSAGES, ("[1]", "[2]"))
    request = GenerationRequest(prompt, SamplingSettings(max_tokens=60, ignore_eos=True), grounded)
    expected = _plain(causal_model, request)
    engine = start_engine()
    for lookup in (False, True):
        asked = GenerationRequest(prompt, request.sampling, grounded, lookup=lookup, prefix_cache=False)
        (choice,) = _ended(engine, asked)
        assert list(choice.token_ids) == expected
    decoding = engine.statistics().decoding
    assert 0 < decoding.accepted < decoding.drafted


def test_forced_tokens_have_the_models_logprobs(
    start_engine: StartEngine, compiler: ConstraintCompiler
) -> None:
    sampling = SamplingSettings(max_tokens=120, logprobs=0)
    request = GenerationRequest(random_prompt(5, 30), sampling, compiler.choice(["exactly this"]))
    told = [event for event in start_engine().submit(request) if hasattr(event, "logprob")]
    assert told
    assert all(event.logprob < 0 for event in told)
