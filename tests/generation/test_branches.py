import numpy as np
import pytest

from generation.branches import Branches, Run
from generation.decoder import BranchTokens, Decoder, DecoderState
from generation.prompt import Prompt
from tests.training.decoder_fixtures import TINY_LAYOUT, TINY_SHAPE
from training.decoder_parity import random_prompt


class CountingDecoder:
    """Passes everything on, and counts."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self.passes: list[list[BranchTokens]] = []

    def extend(self, state: DecoderState, additions: list[BranchTokens]) -> DecoderState:
        self.passes.append(additions)
        return self._decoder.extend(state, additions)


@pytest.fixture
def prompt() -> Prompt:
    return random_prompt(TINY_LAYOUT, TINY_SHAPE.vocabulary, np.random.default_rng(3))


@pytest.fixture
def counting(decoder: Decoder) -> CountingDecoder:
    return CountingDecoder(decoder)


@pytest.fixture
def branches(decoder: Decoder, counting: CountingDecoder, prompt: Prompt) -> Branches:
    return Branches(counting, decoder.start(prompt))  # type: ignore[arg-type]


def _alone(decoder: Decoder, prompt: Prompt, tokens: tuple[int, ...]) -> DecoderState:
    state = decoder.start(prompt)
    for token in tokens:
        state = decoder.advance(state, token)
    return state


def test_runs_that_share_a_beginning_are_each_predicted_right(
    decoder: Decoder, branches: Branches, prompt: Prompt
) -> None:
    runs = [(1,), (1, 1003), (1, 1003, 1004), (1, 1005, 1004), (2, 1003)]
    for tokens, (predicted,) in zip(runs, branches.predict([Run(r, (len(r),)) for r in runs]), strict=True):
        np.testing.assert_allclose(predicted.log_probs, _alone(decoder, prompt, tokens).log_probs, atol=1e-4)


def test_every_length_asked_for_is_predicted(decoder: Decoder, branches: Branches, prompt: Prompt) -> None:
    (predicted,) = branches.predict([Run((1, 1003, 1004), (1, 2, 3))])
    for length, prediction in enumerate(predicted, start=1):
        alone = _alone(decoder, prompt, (1, 1003, 1004)[:length])
        np.testing.assert_allclose(prediction.log_probs, alone.log_probs, atol=1e-4)


def test_a_run_goes_on_where_its_beginning_stands(branches: Branches, counting: CountingDecoder) -> None:
    branches.behind((1, 1003))
    branches.behind((1, 1003, 1004))
    branches.behind((1, 1005))
    written = [(each.branch, each.token_ids) for passed in counting.passes for each in passed]
    assert written == [(1, (1, 1003)), (1, (1004,)), (2, (1, 1005))]


def test_what_was_read_ahead_needs_no_pass(
    decoder: Decoder, branches: Branches, counting: CountingDecoder, prompt: Prompt
) -> None:
    branches.predict([Run((1, 1003), (2,), ahead=(1004, 1005))])
    ahead = branches.behind((1, 1003, 1004))
    assert len(counting.passes) == 1
    np.testing.assert_allclose(ahead.log_probs, _alone(decoder, prompt, (1, 1003, 1004)).log_probs, atol=1e-4)
    branches.behind((1, 1003, 1006))  # the passage did not go on so: written anew
    assert [each.token_ids for each in counting.passes[1]] == [(1, 1003, 1006)]


def test_predictions_are_not_kept_for_ever(branches: Branches, counting: CountingDecoder) -> None:
    for token in range(1003, 1013):
        branches.behind((1, token))
    assert sum(map(len, branches._remembered)) <= 4
    branches.behind((1, 1003))
    assert len(counting.passes) == 11


@pytest.mark.parametrize("lengths", [(), (0,), (3,)])
def test_a_run_without_such_a_beginning_is_refused(lengths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="lengths"):
        Run((1, 1003), lengths)
