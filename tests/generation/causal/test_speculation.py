import numpy as np
import pytest

from generation.causal.lookup import SequenceTokens, find_continuation
from generation.causal.model import CausalModel
from generation.causal.speculation import Acceptance, PassCosts, choose_draft_length
from tests.generation.causal.conftest import StartEngine
from tests.generation.causal.reference import choices, greedy, greedy_reference, random_prompt


@pytest.mark.parametrize(
    ("tokens", "length", "expected"),
    [
        ([1, 2, 3, 4, 5, 1, 2, 3], 2, [4, 5]),
        ([1, 2, 3, 9, 9, 2, 3, 8, 8, 1, 2, 3], 1, [9]),  # the longest match, though not the latest
        ([2, 3, 4, 4, 2, 3, 5, 5, 2, 3], 2, [5, 5]),  # the latest of equal ones
        ([7, 7, 7, 7, 7, 7], 3, [7, 7, 7]),
        ([5, 1, 2, 1, 2], 5, [1, 2, 1, 2, 1]),  # what repeats itself goes on so
        ([1, 2, 3, 1], 2, []),  # one token alone is chance
        ([1, 2, 3, 4], 2, []),
        ([5], 2, []),
    ],
)
def test_continuation_is_what_followed_the_same_tokens(
    tokens: list[int], length: int, expected: list[int]
) -> None:
    assert find_continuation(np.asarray(tokens), length).tolist() == expected


def test_forked_tokens_go_their_own_way() -> None:
    tokens = SequenceTokens(np.asarray([1, 2]), most_tokens=4)
    fork = tokens.fork()
    tokens.append(3)
    fork.append(4)
    assert (tokens.ids.tolist(), fork.ids.tolist()) == ([1, 2, 3], [1, 2, 4])


def _costs(*measured: tuple[int, int, float]) -> PassCosts:
    costs = PassCosts()
    for rows, tokens, seconds in measured:
        costs.record(rows, tokens, seconds)
    return costs


def test_trusted_guesses_are_verified_at_length() -> None:
    costs = _costs((1, 1, 1.0), (1, 5, 1.65), (1, 9, 1.7), (1, 17, 2.15))
    assert choose_draft_length(costs, rows=1, chances=[0.95] * 16) == 16
    assert choose_draft_length(costs, rows=1, chances=[0.5] * 16) == 2
    assert choose_draft_length(costs, rows=1, chances=[0.05] * 16) == 0


# Measured often, as each outlier counts little.
_EXPENSIVE = [(1, tokens, tokens * 1.2) for tokens in (2, 3, 4, 5, 7, 9, 13, 17)] * 40


def test_pass_that_costs_as_much_as_its_tokens_is_not_worth_it() -> None:
    costs = _costs((1, 1, 1.0), *_EXPENSIVE)
    assert choose_draft_length(costs, rows=1, chances=[1.0] * 16) == 0


def test_shared_pass_over_many_rows_asks_for_more_than_one_alone() -> None:
    costs = _costs((1, 1, 1.0), (8, 1, 2.4), (1, 3, 1.3), (1, 5, 1.65), (1, 9, 1.7), (1, 17, 2.15))
    assert choose_draft_length(costs, rows=1, chances=[0.8] * 4) > 0
    assert choose_draft_length(costs, rows=8, chances=[0.8] * 4) == 0
    assert choose_draft_length(costs, rows=8, chances=[0.95] * 16) == 16


def test_short_offer_is_taken_whole() -> None:
    costs = _costs((1, 1, 1.0), (1, 2, 1.1))
    assert choose_draft_length(costs, rows=1, chances=[0.9] * 1) == 1


def test_nothing_is_guessed_before_anything_was_measured() -> None:
    assert choose_draft_length(PassCosts(), rows=1, chances=[1.0] * 16) == 0


def test_outlier_hardly_moves_a_cost() -> None:
    costs = _costs(*[(1, 1, 1.0)] * 10, (1, 1, 100.0))
    assert costs.estimate(1, 1) == pytest.approx(1.1)


def test_first_measurement_cannot_rule_a_length_out_for_ever() -> None:
    costs = _costs((1, 1, 1.0), (1, 9, 100.0))
    assert costs.estimate(1, 9) == pytest.approx(3.6)


def test_acceptance_follows_what_happened_and_recovers() -> None:
    acceptance = Acceptance()
    for _ in range(20):
        acceptance.observe(drafted=8, accepted=0)
    low = acceptance.share
    for _ in range(100):
        acceptance.forget()
    assert low < 0.15
    assert acceptance.share > 0.5
    acceptance.observe(drafted=4, accepted=4)
    assert acceptance.share > 0.6


def test_speculation_changes_no_token(start_engine: StartEngine, causal_model: CausalModel) -> None:
    prompt = random_prompt(60, 40)
    engine = start_engine()
    got = choices(engine.submit(greedy(prompt, 250)))[0]
    assert got == greedy_reference(causal_model, prompt, 250)
    decoding = engine.statistics().decoding
    assert 0 < decoding.accepted < decoding.drafted  # it repeats itself, though not only
    assert decoding.tokens == 249
    assert decoding.passes == 249 - decoding.accepted


def test_speculation_beside_others_changes_no_token(
    start_engine: StartEngine, causal_model: CausalModel
) -> None:
    prompts = [random_prompt(seed, 20) * 4 for seed in range(60, 64)]
    engine = start_engine()
    generations = [engine.submit(greedy(prompt, 60)) for prompt in prompts]
    got = [choices(generation)[0] for generation in generations]
    assert got == [greedy_reference(causal_model, prompt, 60) for prompt in prompts]


def test_request_may_forgo_speculation(start_engine: StartEngine) -> None:
    engine = start_engine()
    list(engine.submit(greedy(random_prompt(60, 20) * 4, 60, lookup=False)))
    assert engine.statistics().decoding.drafted == 0
