import numpy as np
import pytest

from embeddings.errors import InvalidInput
from generation.causal.model import CausalModel
from generation.causal.options import EngineOptions
from generation.causal.slots import SlotBuffer, state_bytes
from generation.decoder import StateTensor

STATE = [
    StateTensor("0.key", "float32", ["batch", 2, "past", 3]),
    StateTensor("0.value", "float16", ["batch", 1, "past", 4]),
]


def test_lowest_free_slot_is_taken_empty() -> None:
    slots = SlotBuffer(STATE, slots=3, max_tokens=8)
    assert [slots.take(), slots.take()] == [0, 1]
    slots.lengths[0] = 5
    slots.release(0)
    assert (slots.lowest_free(), slots.take(), slots.lengths[0], slots.free) == (0, 0, 0, 1)


def test_releasing_twice_is_an_error() -> None:
    slots = SlotBuffer(STATE, slots=1, max_tokens=8)
    slots.release(slots.take())
    with pytest.raises(ValueError, match="free already"):
        slots.release(0)


def test_copied_slot_holds_the_same_rows() -> None:
    slots = SlotBuffer(STATE, slots=2, max_tokens=8)
    rows = [np.ones((2, 5, 3), np.float32), np.full((1, 5, 4), 2, np.float16)]
    slots.write(0, rows)
    slots.copy(0, 1)
    assert slots.lengths.tolist() == [5, 5]
    for copied, row in zip(slots.read(1, 0, 5), rows, strict=True):
        assert np.array_equal(copied, row)


def test_token_takes_bytes_in_every_tensor() -> None:
    assert state_bytes(STATE) == 2 * 3 * 4 + 4 * 2


def test_memory_budget_shortens_the_slots(causal_model: CausalModel) -> None:
    token_bytes = state_bytes(causal_model.spec.state)
    options = EngineOptions(slots=4, kv_bytes=4 * 100 * token_bytes)
    assert options.context_tokens(causal_model.spec) == 100
    assert EngineOptions().context_tokens(causal_model.spec) == causal_model.spec.context_tokens


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"slots": 0}, "slots"),
        ({"queue": 0}, "queue"),
        ({"prefix_bytes": -1}, "prefix_bytes"),
        ({"max_tokens": 1000}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"kv_bytes": 100}, "kv_bytes"),
        ({"max_tokens": 200, "kv_bytes": 100_000}, "kv_bytes"),
    ],
)
def test_impossible_options_are_refused(
    causal_model: CausalModel, options: dict[str, int], field: str
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        EngineOptions(**options).context_tokens(causal_model.spec)
    assert refusal.value.field == field
