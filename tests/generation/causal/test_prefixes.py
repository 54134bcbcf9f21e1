from dataclasses import replace

import numpy as np
import pytest

from generation.causal.prefixes import PrefixStore
from generation.causal.slots import SlotBuffer
from generation.decoder import StateTensor
from tests.generation.causal.conftest import StartEngine
from tests.generation.causal.reference import decode, greedy, random_prompt, usage

STATE = [StateTensor("0.key", "float32", ["batch", 2, "past", 3])]
BLOCK_BYTES = 4 * 2 * 3 * 4  # of 4 tokens


def _filled(slots: SlotBuffer, slot: int, tokens: np.ndarray) -> None:  # type: ignore[type-arg]
    """State that tells which token it belongs to."""
    slots.arrays[0][slot, :, : len(tokens)] = tokens[None, :, None]
    slots.lengths[slot] = len(tokens)


@pytest.fixture
def slots() -> SlotBuffer:
    return SlotBuffer(STATE, slots=2, max_tokens=32)


def test_blocks_come_back_as_they_were(slots: SlotBuffer) -> None:
    store = PrefixStore("model", 10 * BLOCK_BYTES, block_tokens=4)
    tokens = np.arange(1, 12)
    _filled(slots, 0, tokens)
    store.save(slots, 0, tokens)
    assert store.load(slots, 1, np.arange(1, 20)) == 8
    assert slots.lengths[1] == 8
    assert slots.arrays[0][1, 1, :8, 2].tolist() == list(range(1, 9))


def test_last_token_of_a_prompt_is_left_to_read(slots: SlotBuffer) -> None:
    store = PrefixStore("model", 10 * BLOCK_BYTES, block_tokens=4)
    tokens = np.arange(8)
    _filled(slots, 0, tokens)
    store.save(slots, 0, tokens)
    assert store.load(slots, 1, tokens) == 4


def test_block_behind_another_beginning_is_not_taken(slots: SlotBuffer) -> None:
    store = PrefixStore("model", 10 * BLOCK_BYTES, block_tokens=4)
    tokens = np.arange(12)
    _filled(slots, 0, tokens)
    store.save(slots, 0, tokens)
    other = tokens.copy()
    other[0] = 99
    assert store.load(slots, 1, other) == 0
    assert PrefixStore("other", 10 * BLOCK_BYTES, block_tokens=4).load(slots, 1, tokens) == 0


def test_least_recent_goes_first_and_ends_before_beginnings(slots: SlotBuffer) -> None:
    store = PrefixStore("model", 3 * BLOCK_BYTES, block_tokens=4)
    first, second = np.arange(8), np.arange(100, 108)
    for tokens in (first, second):
        _filled(slots, 0, tokens)
        store.save(slots, 0, tokens)
    slots.lengths[1] = 0
    assert store.load(slots, 1, np.append(first, 0)) == 4
    slots.lengths[1] = 0
    assert store.load(slots, 1, np.append(second, 0)) == 8
    statistics = store.statistics()
    assert (statistics.blocks, statistics.size_bytes, statistics.evicted) == (3, 3 * BLOCK_BYTES, 1)


def test_hit_decodes_what_a_cold_start_does(start_engine: StartEngine) -> None:
    engine = start_engine()
    start = random_prompt(40, 150)
    first, second = (greedy((*start, *random_prompt(seed, 30)), 20) for seed in (41, 42))
    decode(engine, first)
    events = list(engine.submit(second))
    assert usage(events).cached_tokens == 128
    assert decode(engine, second) == decode(engine, replace(second, prefix_cache=False))
    assert usage(engine.submit(replace(second, prefix_cache=False))).cached_tokens == 0
    assert decode(start_engine(), second) == decode(engine, second)


def test_conversation_goes_on_from_its_last_answer(start_engine: StartEngine) -> None:
    engine = start_engine()
    prompt = random_prompt(43, 100)
    answer = decode(engine, greedy(prompt, 40))
    events = engine.submit(greedy((*prompt, *answer, 7, 8), 5))
    assert usage(events).cached_tokens == 128  # of 142, though the first prompt had but 100


def test_small_budget_evicts_and_stays_right(start_engine: StartEngine) -> None:
    prompts = [random_prompt(seed, 140) for seed in range(50, 54)]
    cold = start_engine(prefix_bytes=0)
    warm = start_engine(prefix_bytes=3 * 64 * 2 * 2 * 2 * 16 * 4)
    expected = [decode(cold, greedy(prompt, 8)) for prompt in prompts]
    for _ in range(2):
        assert [decode(warm, greedy(prompt, 8)) for prompt in prompts] == expected
    assert warm.statistics().prefixes.evicted > 0
    assert warm.statistics().prefixes.blocks == 3
    assert cold.statistics().prefixes.blocks == 0
