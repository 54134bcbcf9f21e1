import random

from hypothesis import given
from hypothesis import strategies as st

from training.batching import length_grouped_batches


@given(st.lists(st.integers(1, 300), max_size=200), st.integers(50, 2000), st.integers(0, 5))
def test_batches_hold_every_item_once_within_the_budget(lengths: list[int], budget: int, seed: int) -> None:
    batches = list(length_grouped_batches(lengths, budget, random.Random(seed), pool=64))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= budget


def test_batches_waste_less_than_a_tenth_on_padding() -> None:
    rng = random.Random(1)
    lengths = [rng.randint(20, 400) for _ in range(4000)]
    batches = list(length_grouped_batches(lengths, 4096, rng))
    padded = sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)
    assert sum(lengths) / padded > 0.9


def test_order_differs_between_seeds() -> None:
    lengths = list(range(1, 200))
    first, second = (list(length_grouped_batches(lengths, 500, random.Random(seed))) for seed in (1, 2))
    assert first != second
