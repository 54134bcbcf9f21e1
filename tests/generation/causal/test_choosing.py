"""Filters and penalties against transformers' own, draws against the distribution they should follow."""

from collections import Counter

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import chisquare
from transformers.generation import logits_process as reference

from embeddings.errors import InvalidInput
from generation.candidates import candidate_distribution, choose_token, most_probable
from generation.causal.choosing import TokenChooser, adjust_logits, choose_tokens
from generation.causal.penalties import TokenHistory
from generation.sampling import SamplingSettings

VOCABULARY = 5_000  # more than twice the columns that a row is folded into
PROMPT = [4, 8, 15, 16, 23, 42, 8, 15]


def random_logits(seed: int, size: int = VOCABULARY, scale: float = 2.5) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, scale, size).astype(np.float32)


def reference_distribution(logits: NDArray[np.float32], settings: SamplingSettings) -> NDArray[np.float64]:
    """(vocabulary,) as transformers' generate filters it, in its order."""
    warpers = reference.LogitsProcessorList([reference.TemperatureLogitsWarper(settings.temperature)])
    if settings.top_k:
        warpers.append(reference.TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1:
        warpers.append(reference.TopPLogitsWarper(settings.top_p))
    if settings.min_p:
        warpers.append(reference.MinPLogitsWarper(settings.min_p))
    if settings.typical_p < 1:
        warpers.append(reference.TypicalLogitsWarper(settings.typical_p))
    scores = warpers(torch.tensor([PROMPT]), torch.from_numpy(logits)[None].double())
    return np.asarray(torch.softmax(scores, dim=-1)[0].numpy())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "filters",
    [
        {"top_k": 1},
        {"top_k": 40},
        {"top_k": VOCABULARY + 1},
        {"top_p": 0.3},
        {"top_p": 0.95},
        {"min_p": 0.05},
        {"min_p": 1.0},
        {"min_p": 1e-4},
        {"typical_p": 0.2},
        {"typical_p": 0.9},
        {"top_k": 50, "top_p": 0.8, "min_p": 0.02, "typical_p": 0.7},
        {"top_p": 0.9, "typical_p": 0.5},
        {"temperature": 0.3, "top_p": 0.9, "min_p": 0.01},
        {"temperature": 1.9, "top_p": 0.9, "min_p": 0.3},
    ],
)
def test_filters_leave_the_distribution_that_transformers_leaves(
    seed: int, filters: dict[str, float]
) -> None:
    settings = SamplingSettings(**{"temperature": 0.8, **filters})  # type: ignore[arg-type]
    logits = random_logits(seed)
    ids, probabilities = candidate_distribution(logits, settings)
    found = np.zeros(VOCABULARY)
    found[ids] = probabilities
    assert found == pytest.approx(reference_distribution(logits, settings), abs=1e-6)
    assert list(probabilities) == sorted(probabilities, reverse=True)


@pytest.mark.parametrize(
    "settings",
    [
        SamplingSettings(temperature=1.3, seed=1),
        SamplingSettings(temperature=1.3, seed=2, top_k=8),
        SamplingSettings(temperature=1.0, seed=3, min_p=0.05),
        SamplingSettings(temperature=1.0, seed=4, typical_p=0.6),
        SamplingSettings(temperature=0.7, seed=5, top_p=0.9),
    ],
)
def test_draws_follow_the_reference_distribution(settings: SamplingSettings) -> None:
    logits = random_logits(9, size=64, scale=1.0)
    expected = reference_distribution(logits, settings) * 8_000
    chooser = TokenChooser(settings, PROMPT)
    draws = [chooser.choose(logits, None).token_id for _ in range(8_000)]
    observed = np.bincount(draws, minlength=64)
    possible = expected > 0
    assert not observed[~possible].any()
    assert chisquare(observed[possible], expected[possible]).pvalue > 0.001


def test_a_draw_from_a_folded_row_follows_the_softmax() -> None:
    """The whole vocabulary, of which one token in 80 is likely; counted in 8 groups by id."""
    logits = np.where(np.arange(VOCABULARY) % 80 == 3, 5.0, -1.0).astype(np.float32)
    logits += random_logits(1, scale=0.5)
    probabilities = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum()
    chooser = TokenChooser(SamplingSettings(temperature=1.0, seed=6), PROMPT)
    draws = np.array([chooser.choose(logits, None).token_id for _ in range(8_000)])
    group = (np.arange(VOCABULARY) * 7919) % 8
    expected = np.bincount(group, weights=probabilities) * draws.size
    assert chisquare(np.bincount(group[draws], minlength=8), expected).pvalue > 0.001
    # 63 tokens are likely: each of them comes as often as it should.
    likely = np.flatnonzero(np.arange(VOCABULARY) % 80 == 3)
    counts = np.bincount(draws, minlength=VOCABULARY)[likely]
    shares = probabilities[likely] / probabilities[likely].sum()
    assert chisquare(counts, shares * counts.sum()).pvalue > 0.001


def test_the_best_ids_are_those_of_a_full_sort_with_ties_by_id() -> None:
    scores = np.round(random_logits(3), 1)  # many ties
    for count in (1, 7, 300, VOCABULARY):
        expected = sorted(range(VOCABULARY), key=lambda i: (-scores[i], i))[:count]
        assert most_probable(scores, count).tolist() == expected


def test_forbidden_tokens_are_not_among_the_best() -> None:
    scores = np.full(VOCABULARY, -np.inf, dtype=np.float32)
    scores[[17, 4_001]] = 1.0, 2.0
    assert most_probable(scores, 50).tolist() == [4_001, 17]


def observed_history(settings: SamplingSettings, answer: list[int]) -> TokenHistory:
    history = TokenHistory(settings, PROMPT)
    for token_id in answer:
        history.observe(token_id)
    return history


def test_the_repetition_penalty_is_that_of_transformers() -> None:
    settings = SamplingSettings(repetition_penalty=1.4)
    logits, answer = random_logits(4), [99, 8, 100]
    expected = reference.RepetitionPenaltyLogitsProcessor(1.4)(
        torch.tensor([PROMPT + answer]), torch.from_numpy(logits.copy())[None]
    )
    found = adjust_logits(logits, settings, observed_history(settings, answer), None)
    assert np.array_equal(found, expected[0].numpy())


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_ngram_ban_is_that_of_transformers(n: int) -> None:
    settings = SamplingSettings(no_repeat_ngram=n)
    logits, answer = random_logits(5), [7, 4, 8, 15, 99, 8, 15]
    expected = reference.NoRepeatNGramLogitsProcessor(n)(
        torch.tensor([PROMPT + answer]), torch.from_numpy(logits.copy())[None]
    )
    found = adjust_logits(logits, settings, observed_history(settings, answer), None)
    assert np.array_equal(found, expected[0].numpy())
    assert np.isinf(found).any()


def test_presence_and_frequency_count_the_answer_alone() -> None:
    settings = SamplingSettings(presence_penalty=0.5, frequency_penalty=0.25)
    logits, answer = random_logits(6), [99, 8, 99, 99, *range(200, 300)]
    found = adjust_logits(logits, settings, observed_history(settings, answer), None)
    expected = logits.copy()
    for token_id, count in Counter(answer).items():  # https://platform.openai.com/docs/guides/text-generation
        expected[token_id] -= np.float32(count * 0.25 + 0.5)
    assert found == pytest.approx(expected, abs=1e-6)
    assert found[4] == logits[4]


def test_a_copied_history_goes_its_own_way() -> None:
    settings = SamplingSettings(frequency_penalty=1.0, no_repeat_ngram=1)
    first = observed_history(settings, [3])
    second = first.copy()
    second.observe(5)
    zeros = np.zeros(60, dtype=np.float32)
    assert adjust_logits(zeros, SamplingSettings(), first, None)[5] == 0
    assert set(second.banned().tolist()) - set(first.banned().tolist()) == {5}


def test_the_logit_bias_is_that_of_transformers() -> None:
    settings = SamplingSettings(logit_bias=((3, 4.5), (10, -100.0)))
    logits = random_logits(7)
    bias = reference.SequenceBiasLogitsProcessor([[[3], 4.5], [[10], -100.0]])
    expected = bias(torch.tensor([PROMPT]), torch.from_numpy(logits.copy())[None])
    assert np.array_equal(adjust_logits(logits, settings, None, None), expected[0].numpy())


def test_a_bias_on_an_unknown_token_names_it() -> None:
    with pytest.raises(InvalidInput, match="token 60") as raised:
        SamplingSettings(logit_bias=((3, 1.0), (60, 1.0))).check_token_ids(60)
    assert raised.value.field == "logit_bias"


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_masked_token_is_never_chosen_and_the_ngram_ban_yields_to_the_mask(temperature: float) -> None:
    settings = SamplingSettings(temperature=temperature, seed=1, no_repeat_ngram=1, top_p=0.9)
    mask = np.zeros(VOCABULARY, dtype=np.bool_)
    mask[[8, 777]] = True
    chooser = TokenChooser(settings, PROMPT)
    assert chooser.choose(random_logits(8), mask).token_id == 777  # 8 has been
    chooser.observe(777)
    assert chooser.choose(random_logits(8), mask).token_id in {8, 777}


def test_a_mask_that_allows_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="none of 5000 tokens"):
        TokenChooser(SamplingSettings(), []).choose(random_logits(8), np.zeros(VOCABULARY, dtype=np.bool_))


def test_choosing_leaves_the_logits_as_they_are() -> None:
    logits = random_logits(2)[None].copy()
    settings = SamplingSettings(temperature=1, logit_bias=((1, 5.0),), repetition_penalty=2.0, top_p=0.5)
    choose_tokens(logits, [TokenChooser(settings, PROMPT)], [np.arange(VOCABULARY) % 2 == 0])
    assert np.array_equal(logits[0], random_logits(2))


STRATEGIES = [
    SamplingSettings(temperature=1.0, seed=5),
    SamplingSettings(temperature=0.7, seed=5, top_k=20),
    SamplingSettings(),
    SamplingSettings(temperature=1.2, seed=6, top_p=0.95, frequency_penalty=1.0),
    SamplingSettings(temperature=1.0, seed=7, typical_p=0.9, min_p=0.001),
]


def decode(settings: SamplingSettings, neighbours: list[SamplingSettings], place: int) -> list[int]:
    """Twenty tokens of one request among others, whose rows hold other logits."""
    together = [*neighbours[:place], settings, *neighbours[place:]]
    choosers = [TokenChooser(each, PROMPT) for each in together]
    tokens = []
    for step in range(20):
        rows = np.stack([random_logits(1_000 + step + 31 * (i - place)) for i in range(len(together))])
        chosen = choose_tokens(rows, choosers, [None] * len(together))
        for chooser, token in zip(choosers, chosen, strict=True):
            chooser.observe(token.token_id)
        tokens.append(chosen[place].token_id)
    return tokens


@pytest.mark.parametrize("settings", STRATEGIES)
def test_a_request_draws_the_same_whatever_else_is_in_the_batch(settings: SamplingSettings) -> None:
    alone = decode(settings, [], 0)
    assert decode(settings, STRATEGIES, 0) == alone
    assert decode(settings, STRATEGIES, 3) == alone


def test_samples_of_one_request_differ_and_each_can_be_repeated() -> None:
    settings = SamplingSettings(temperature=1.0, seed=5, n=2)

    def draw(sample: int) -> list[int]:
        chooser = TokenChooser(settings, PROMPT, sample)
        return [chooser.choose(random_logits(step), None).token_id for step in range(10)]

    assert draw(0) == draw(0)
    assert draw(0) != draw(1)


def test_logprobs_are_those_of_the_model_before_everything_else() -> None:
    settings = SamplingSettings(temperature=0.5, seed=1, logprobs=3, logit_bias=((77, 100.0),))
    logits = random_logits(11)
    chosen = TokenChooser(settings, PROMPT).choose(logits, None)
    expected = torch.log_softmax(torch.from_numpy(logits).double(), dim=-1)
    best = torch.topk(expected, 3)
    assert chosen.token_id == 77
    assert chosen.logprob == pytest.approx(float(expected[77]), abs=1e-5)
    assert [token_id for token_id, _ in chosen.top] == best.indices.tolist()
    assert [logprob for _, logprob in chosen.top] == pytest.approx(best.values.tolist(), abs=1e-5)


def test_no_logprobs_are_computed_unless_they_are_asked_for() -> None:
    assert np.isnan(TokenChooser(SamplingSettings(), []).choose(random_logits(1), None).logprob)
    chosen = TokenChooser(SamplingSettings(logprobs=0), []).choose(random_logits(1), None)
    assert chosen.logprob < 0
    assert chosen.top == ()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("filters", [{}, {"top_k": 5}, {"top_p": 0.9}, {"typical_p": 0.9}, {"min_p": 0.1}])
def test_a_temperature_next_to_zero_is_greedy_under_each_filter(filters: dict[str, float]) -> None:
    settings = SamplingSettings(temperature=1e-300, **filters)  # type: ignore[arg-type]
    logits = random_logits(12)
    assert choose_token(logits, settings, np.random.default_rng(0)) == int(logits.argmax())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("min_p", 1.1),
        ("typical_p", 0.0),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", float("inf")),
        ("presence_penalty", 2.5),
        ("frequency_penalty", float("nan")),
        ("no_repeat_ngram", -1),
        ("logit_bias", ((-1, 1.0),)),
        ("logit_bias", ((1, 101.0),)),
        ("logit_bias", ((1, 1.0),) * 1025),
        ("logprobs", 21),
        ("n", 0),
        ("beams", 65),
        ("length_penalty", 11.0),
    ],
)
def test_a_value_out_of_range_names_its_field(field: str, value: object) -> None:
    with pytest.raises(InvalidInput) as raised:
        SamplingSettings(**{field: value})  # type: ignore[arg-type]
    assert raised.value.field == field
    assert raised.value.expected


@pytest.mark.parametrize(("field", "value"), [("temperature", 1.0), ("top_k", 5), ("min_p", 0.1), ("n", 3)])
def test_beams_do_not_go_with_sampling_nor_with_more_answers_than_beams(field: str, value: float) -> None:
    with pytest.raises(InvalidInput) as raised:
        SamplingSettings(beams=2, **{field: value})  # type: ignore[arg-type]
    assert raised.value.field == field
