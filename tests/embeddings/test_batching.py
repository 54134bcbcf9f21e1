from hypothesis import given
from hypothesis import strategies as st

from embeddings.batching import token_budget_batches


@given(st.lists(st.integers(min_value=1, max_value=300)), st.integers(min_value=1, max_value=1000))
def test_every_text_is_in_one_batch_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(token_budget_batches(lengths, budget))
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[position] for position in batch) * len(batch) <= budget


def test_long_text_does_not_pad_short_ones() -> None:
    assert list(token_budget_batches([200, 3, 4, 3], max_tokens=256)) == [[1, 3, 2], [0]]


def test_text_above_the_budget_goes_alone() -> None:
    assert list(token_budget_batches([5, 900], max_tokens=100)) == [[0], [1]]


def test_no_texts_make_no_batch() -> None:
    assert list(token_budget_batches([], max_tokens=100)) == []
