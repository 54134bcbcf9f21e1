"""The oracle of the engine: one sequence, everything read again for each token, nothing kept."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from generation.causal.engine import CausalEngine
from generation.causal.model import CausalModel
from generation.causal.requests import (
    ChoiceFinished,
    Finished,
    GenerationEvent,
    GenerationRequest,
    TokenEvent,
)
from generation.sampling import SamplingSettings


def read_whole(model: CausalModel, token_ids: Sequence[int]) -> NDArray[np.float32]:
    """Logits (tokens, vocabulary) of one pass over all of them, from an empty state."""
    tokens = len(token_ids)
    feeds = {
        "input_ids": np.asarray([token_ids], dtype=np.int64),
        "attention_mask": np.ones((1, tokens), dtype=np.int64),
        "logit_positions": np.arange(tokens),
    }
    for tensor in model.spec.state:
        _, heads, _, size = tensor.shape
        feeds[f"past.{tensor.name}"] = np.zeros((1, heads, 0, size), dtype=tensor.dtype)
    return np.asarray(model.session.run(["logits"], feeds)[0][0])


def greedy_reference(
    model: CausalModel, prompt: Sequence[int], tokens: int, eos: Sequence[int] = ()
) -> list[int]:
    """What plain greedy decoding gives."""
    token_ids = list(prompt)
    for _ in range(tokens):
        best = int(read_whole(model, token_ids)[-1].argmax())
        if best in eos:
            break
        token_ids.append(best)
    return token_ids[len(prompt) :]


def random_prompt(seed: int, tokens: int, vocabulary: int = 300) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).integers(1, vocabulary, tokens).tolist())


def greedy(prompt: Sequence[int], tokens: int, **options: object) -> GenerationRequest:
    """A request that decodes exactly so many tokens, unless it meets the end."""
    sampling = SamplingSettings(max_tokens=tokens, ignore_eos=True)
    return GenerationRequest(tuple(prompt), sampling, **options)  # type: ignore[arg-type]


def choices(events: Iterable[GenerationEvent]) -> list[list[int]]:
    """The token ids of each choice, in their order."""
    ended = [event for event in events if isinstance(event, ChoiceFinished)]
    return [list(event.token_ids) for event in sorted(ended, key=lambda event: event.choice)]


def decode(engine: CausalEngine, request: GenerationRequest) -> list[int]:
    """The tokens of the only choice."""
    return choices(engine.submit(request))[0]


def usage(events: Iterable[GenerationEvent]) -> Finished:
    last = list(events)[-1]
    assert isinstance(last, Finished)
    return last


def tokens_of(events: Iterable[GenerationEvent]) -> list[TokenEvent]:
    return [event for event in events if isinstance(event, TokenEvent)]
