"""Beam search against transformers' generate, and against every possible answer."""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import GPT2Config, GPT2LMHeadModel

from generation.causal.beam import BeamSearch, Hypothesis
from generation.sampling import SamplingSettings

PROMPT = (5, 9, 5, 11)
NextLogProbs = Callable[[tuple[int, ...]], NDArray[np.float32]]


def search(next_log_probs: NextLogProbs, settings: SamplingSettings, eos: Sequence[int]) -> list[Hypothesis]:
    """Run a whole search as the engine does: rows follow their parents."""
    beams = BeamSearch(settings, eos, PROMPT)
    rows: list[tuple[int, ...]] = [()] * settings.beams
    while step := beams.step(np.stack([next_log_probs(row) for row in rows])):
        pairs = zip(step.parents.tolist(), step.tokens.tolist(), strict=True)
        rows = [(*rows[parent], token) for parent, token in pairs]
    return beams.hypotheses()


def random_model(vocabulary: int, seed: int) -> NextLogProbs:
    """A model whose next token depends on all the tokens before it."""

    def next_log_probs(tokens: tuple[int, ...]) -> NDArray[np.float32]:
        logits = np.random.default_rng([seed, len(tokens), *tokens]).normal(0, 1.5, vocabulary)
        return np.asarray(logits - np.log(np.exp(logits).sum()), dtype=np.float32)

    return next_log_probs


def every_answer(
    next_log_probs: NextLogProbs, vocabulary: int, eos: int, max_tokens: int, length_penalty: float
) -> list[tuple[float, tuple[int, ...]]]:
    """Score and tokens of every answer that ends within max_tokens, or is cut there; best first."""
    answers = {}
    for tokens in product(range(vocabulary), repeat=max_tokens):
        length = tokens.index(eos) + 1 if eos in tokens else max_tokens
        total = sum(float(next_log_probs(tokens[:i])[tokens[i]]) for i in range(length))
        answers[tokens[: tokens.index(eos)] if eos in tokens else tokens] = total / length**length_penalty
    return sorted(((score, tokens) for tokens, score in answers.items()), reverse=True)


@pytest.mark.parametrize("seed", range(4))
def test_with_enough_beams_the_search_is_exhaustive(seed: int) -> None:
    model = random_model(4, seed)
    # 64 beams hold each of the 3^3 unfinished answers; without division no answer can gain by growing.
    settings = SamplingSettings(beams=64, n=64, max_tokens=4, length_penalty=0.0)
    found = search(model, settings, eos=[0])
    best = every_answer(model, 4, eos=0, max_tokens=4, length_penalty=0.0)[:10]
    assert [hypothesis.token_ids for hypothesis in found[:10]] == [tokens for _, tokens in best]
    assert [hypothesis.score for hypothesis in found[:10]] == pytest.approx([score for score, _ in best])


def test_a_greater_length_penalty_favours_longer_answers() -> None:
    model = random_model(6, seed=1)
    lengths = [
        len(
            search(model, SamplingSettings(beams=8, max_tokens=8, length_penalty=penalty), eos=[0])[
                0
            ].token_ids
        )
        for penalty in (-3.0, 0.0, 3.0)
    ]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]


@pytest.fixture(scope="module")
def gpt2() -> GPT2LMHeadModel:
    torch.manual_seed(3)
    config = GPT2Config(vocab_size=61, n_positions=64, n_embd=16, n_layer=1, n_head=2, initializer_range=0.6)
    return GPT2LMHeadModel(config).eval()


def gpt2_log_probs(model: GPT2LMHeadModel) -> NextLogProbs:
    def next_log_probs(tokens: tuple[int, ...]) -> NDArray[np.float32]:
        with torch.no_grad():
            logits = model(torch.tensor([[*PROMPT, *tokens]])).logits[0, -1]
        return torch.log_softmax(logits, dim=-1).numpy()

    return next_log_probs


@pytest.mark.parametrize(
    ("settings", "eos"),
    [
        (SamplingSettings(beams=4, n=4, max_tokens=12), [7]),
        (SamplingSettings(beams=3, n=2, max_tokens=12, length_penalty=2.0), [7, 20, 33]),
        (SamplingSettings(beams=4, n=4, max_tokens=12, length_penalty=-1.0), [7, 20, 33]),
        (SamplingSettings(beams=4, n=3, max_tokens=10, length_penalty=0.0, repetition_penalty=1.7), [7, 20]),
        (SamplingSettings(beams=2, n=2, max_tokens=10, no_repeat_ngram=2), [7]),
    ],
)
def test_the_hypotheses_and_scores_are_those_of_transformers(
    gpt2: GPT2LMHeadModel, settings: SamplingSettings, eos: list[int]
) -> None:
    expected = gpt2.generate(
        torch.tensor([PROMPT]),
        num_beams=settings.beams,
        num_return_sequences=settings.n,
        max_new_tokens=settings.max_tokens,
        length_penalty=settings.length_penalty,
        repetition_penalty=settings.repetition_penalty,
        no_repeat_ngram_size=settings.no_repeat_ngram,
        do_sample=False,
        eos_token_id=eos,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_scores=True,
    )
    found = search(gpt2_log_probs(gpt2), settings, eos)[: settings.n]
    answers = [row[len(PROMPT) :].tolist() for row in expected.sequences]
    cut = [answer[: next((i for i, t in enumerate(answer) if t in eos), len(answer))] for answer in answers]
    assert [list(hypothesis.token_ids) for hypothesis in found] == cut
    assert [hypothesis.score for hypothesis in found] == pytest.approx(
        expected.sequences_scores.tolist(), abs=1e-4
    )


def test_forbidden_tokens_are_in_no_hypothesis_even_where_fewer_are_left_than_beams() -> None:
    model = random_model(8, seed=2)

    def masked(tokens: tuple[int, ...]) -> NDArray[np.float32]:
        allowed = [3] if len(tokens) < 2 else [0, 4]  # 3 3, then any number of 4, then the end
        row = np.full(8, -np.inf, dtype=np.float32)
        row[allowed] = model(tokens)[allowed]
        return row

    found = search(masked, SamplingSettings(beams=4, n=4, max_tokens=5), eos=[0])
    assert {hypothesis.token_ids for hypothesis in found} == {
        (3, 3),
        (3, 3, 4),
        (3, 3, 4, 4),
        (3, 3, 4, 4, 4),
    }


def test_the_search_ends_without_hypotheses_where_nothing_is_allowed() -> None:
    nothing = np.full((3, 5), -np.inf, dtype=np.float32)
    beams = BeamSearch(SamplingSettings(beams=3), [0], PROMPT)
    assert beams.step(nothing) is None
    assert beams.hypotheses() == []


def test_the_end_token_is_text_when_it_is_ignored() -> None:
    found = search(
        random_model(3, seed=5), SamplingSettings(beams=2, max_tokens=6, ignore_eos=True), eos=[0, 1]
    )
    assert [len(hypothesis.token_ids) for hypothesis in found] == [6, 6]
