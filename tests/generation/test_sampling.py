import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from embeddings.errors import InvalidInput
from generation.candidates import candidate_distribution, choose_token
from generation.sampling import SamplingSettings, StopMatcher

PROBABILITIES = np.array([0.05, 0.4, 0.02, 0.3, 0.13, 0.1])
LOG_PROBS = np.log(PROBABILITIES).astype(np.float32)
CHI_SQUARE_5_DEGREES_999 = 20.52  # 99.9 % quantile of chi-square with 5 degrees of freedom


def draw(
    settings: SamplingSettings, count: int, log_probs: NDArray[np.float32] = LOG_PROBS
) -> NDArray[np.int64]:
    rng = settings.generator()
    return np.array([choose_token(log_probs, settings, rng) for _ in range(count)])


def chi_square(draws: NDArray[np.int64], expected: NDArray[np.float64]) -> float:
    observed = np.bincount(draws, minlength=expected.size)
    return float(np.sum((observed - draws.size * expected) ** 2 / (draws.size * expected)))


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_draws_follow_the_tempered_distribution(temperature: float) -> None:
    tempered = PROBABILITIES ** (1 / temperature)
    draws = draw(SamplingSettings(temperature=temperature, seed=7), 4_000)
    assert chi_square(draws, tempered / tempered.sum()) < CHI_SQUARE_5_DEGREES_999


def test_draws_of_a_nucleus_follow_its_renormalised_distribution() -> None:
    draws = draw(SamplingSettings(temperature=1, top_p=0.8, seed=11), 4_000)
    kept = np.where(np.isin(np.arange(6), [1, 3, 4]), PROBABILITIES, 0)
    assert set(draws) == {1, 3, 4}
    renumbered = np.searchsorted([1, 3, 4], draws)
    assert chi_square(renumbered, kept[[1, 3, 4]] / kept.sum()) < 13.82  # 2 degrees of freedom, 99.9 %


def test_the_same_seed_gives_the_same_draws_and_another_seed_others() -> None:
    first = draw(SamplingSettings(temperature=1, seed=1), 50)
    assert np.array_equal(first, draw(SamplingSettings(temperature=1, seed=1), 50))
    assert not np.array_equal(first, draw(SamplingSettings(temperature=1, seed=2), 50))


def test_without_a_seed_two_requests_draw_differently() -> None:
    settings = SamplingSettings(temperature=1)
    assert not np.array_equal(draw(settings, 100), draw(settings, 100))


def test_greedy_takes_the_most_probable_and_of_equal_ones_the_lowest_id() -> None:
    assert choose_token(LOG_PROBS, SamplingSettings(), np.random.default_rng(0)) == 1
    tied = np.log(np.array([0.2, 0.4, 0.4], dtype=np.float32))
    assert choose_token(tied, SamplingSettings(), np.random.default_rng(0)) == 1


@settings(deadline=None)
@given(
    weights=st.lists(st.integers(1, 1000), min_size=1, max_size=30),
    top_k=st.integers(0, 35),
    top_p=st.floats(0.01, 1.0),
)
def test_the_support_equals_the_brute_force_definition(weights: list[int], top_k: int, top_p: float) -> None:
    log_probs = np.log(np.array(weights) / sum(weights)).astype(np.float32)
    wanted = SamplingSettings(temperature=1, top_k=top_k, top_p=top_p)
    ids, probabilities = candidate_distribution(log_probs, wanted)

    order = sorted(range(len(weights)), key=lambda i: (-log_probs[i], i))[: top_k or None]
    mass = np.exp(log_probs[order].astype(np.float64))
    mass /= mass.sum()
    sizes = [n for n in range(1, len(order) + 1) if mass[:n].sum() >= top_p - 1e-12]
    nucleus = order[: sizes[0]] if top_p < 1 and sizes else order
    assert list(ids) == nucleus
    assert probabilities.sum() == pytest.approx(1)


@pytest.mark.parametrize("settings", [SamplingSettings(), SamplingSettings(temperature=2, seed=3)])
def test_a_forbidden_token_is_never_chosen(settings: SamplingSettings) -> None:
    masked = np.full(1000, -np.inf, dtype=np.float32)
    masked[[3, 700]] = np.log(np.float32(1e-30)), np.log(np.float32(1e-31))
    assert set(draw(settings, 200, masked)) <= {3, 700}


def test_all_tokens_forbidden_is_an_error() -> None:
    with pytest.raises(ValueError, match="none of 4 tokens is allowed"):
        choose_token(np.full(4, -np.inf, dtype=np.float32), SamplingSettings(), np.random.default_rng(0))


@pytest.mark.filterwarnings("error")
def test_a_temperature_next_to_zero_is_greedy() -> None:
    assert set(draw(SamplingSettings(temperature=1e-300, seed=0), 20)) == {1}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", float("nan")),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.01),
        ("seed", -1),
        ("seed", 2**63),
        ("max_tokens", 0),
        ("max_tokens", 10**6),
        ("stop", ("",)),
        ("stop", ("x",) * 17),
    ],
)
def test_a_value_out_of_range_names_its_field(field: str, value: object) -> None:
    with pytest.raises(InvalidInput) as raised:
        SamplingSettings(**{field: value})  # type: ignore[arg-type]
    assert raised.value.field == field
    assert raised.value.found
    assert raised.value.expected


def stream(pieces: list[str], stop: list[str]) -> list[str]:
    matcher = StopMatcher(stop)
    return [*(matcher.push(piece) for piece in pieces), "" if matcher.stopped else matcher.flush()]


def test_a_stop_sequence_split_over_pieces_is_not_streamed() -> None:
    assert "".join(stream(["One. ", "EN", "D two"], ["END"])) == "One. "


def test_the_beginning_of_a_stop_sequence_is_held_back_until_it_is_refuted() -> None:
    assert stream(["a\n", "b"], ["\n\n"]) == ["a", "\nb", ""]
    assert stream(["a\n"], ["\n\n"]) == ["a", "\n"]


def test_without_stop_sequences_every_piece_passes_at_once() -> None:
    assert stream(["a", "b"], []) == ["a", "b", ""]


@settings(deadline=None)
@given(
    pieces=st.lists(st.text("ab", max_size=4), max_size=8),
    stop=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
)
def test_what_is_streamed_does_not_depend_on_how_the_text_falls_into_pieces(
    pieces: list[str], stop: list[str]
) -> None:
    text = "".join(pieces)
    ends = [(end, len(s)) for end in range(len(text) + 1) for s in stop if text[:end].endswith(s)]
    first_end = min((end for end, _ in ends), default=None)
    expected = (
        text if first_end is None else text[: first_end - max(n for end, n in ends if end == first_end)]
    )
    assert "".join(stream(pieces, stop)) == expected
    assert "".join(stream(list(text), stop)) == expected
