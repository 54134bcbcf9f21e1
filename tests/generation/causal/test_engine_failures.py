"""What is cancelled or fails gives its slots back, and harms nobody else."""

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from generation.causal.engine import CausalEngine
from generation.causal.model import CausalModel
from generation.causal.requests import Generation, GenerationEvent, GenerationRequest, TokenEvent
from generation.sampling import SamplingSettings
from tests.generation.causal.conftest import StartEngine
from tests.generation.causal.reference import choices, decode, greedy, greedy_reference, random_prompt

BEAMS = SamplingSettings(beams=3, max_tokens=200, ignore_eos=True)


def _wait_until_idle(engine: CausalEngine) -> None:
    """A request that needs every slot gets them when all others have given theirs back."""
    slots = engine._slot_count
    sampling = SamplingSettings(n=slots, temperature=1.0, max_tokens=1)
    assert len(choices(engine.submit(GenerationRequest((1, 2), sampling)))) == slots


@pytest.mark.parametrize("sampling", [SamplingSettings(max_tokens=400, ignore_eos=True), BEAMS])
def test_cancelled_decoding_frees_its_slots(start_engine: StartEngine, sampling: SamplingSettings) -> None:
    engine = start_engine(slots=3)
    generation = engine.submit(GenerationRequest(random_prompt(1, 20), sampling, lookup=False))
    while not engine.statistics().decoding.passes:
        pass
    generation.cancel()
    assert list(generation) == []
    _wait_until_idle(engine)
    assert engine.statistics().decoding.tokens < 400


def test_cancelled_prefill_frees_its_slot(start_engine: StartEngine) -> None:
    engine = start_engine(slots=2, prefill_chunk=1)
    decoding = engine.submit(greedy((1, 2), 300, lookup=False))  # so that a chunk stays one token
    next(decoding)
    generation = engine.submit(greedy(random_prompt(2, 400), 2))
    generation.cancel()
    decoding.cancel()
    _wait_until_idle(engine)
    assert engine.statistics().prefill_passes < 400


def test_cancelled_while_queued_never_runs(start_engine: StartEngine) -> None:
    engine = start_engine(slots=1)
    running = engine.submit(greedy((1, 2), 100, lookup=False))
    next(running)
    queued = engine.submit(greedy(random_prompt(3, 20), 50))
    queued.cancel()
    list(running)
    _wait_until_idle(engine)
    assert engine.statistics().prefill_passes == 2


def test_cancelling_twice_and_after_the_end_is_harmless(start_engine: StartEngine) -> None:
    engine = start_engine(slots=1)
    generation = engine.submit(greedy((1, 2), 3))
    list(generation)
    generation.cancel()
    generation.cancel()
    _wait_until_idle(engine)


class FailingSession:
    """The model's session, which fails passes that read a certain token."""

    def __init__(self, session: Any, poison: int) -> None:
        self._session = session
        self._poison = poison

    def io_binding(self) -> Any:
        return _WatchedBinding(self._session.io_binding())

    def run_with_iobinding(self, binding: Any, options: Any = None) -> None:
        if self._poison in binding.token_ids:
            raise RuntimeError("bad allocation")
        self._session.run_with_iobinding(binding.binding, options)


class _WatchedBinding:
    """Remembers which tokens are bound."""

    def __init__(self, binding: Any) -> None:
        self.binding = binding
        self.token_ids: list[int] = []

    def bind_input(self, name: str, device: str, number: int, kind: Any, shape: Any, address: int) -> None:
        if name == "input_ids":
            size = int(np.prod(shape))
            buffer = (np.ctypeslib.ctypes.c_int64 * size).from_address(address)
            self.token_ids = list(buffer)
        self.binding.bind_input(name, device, number, kind, shape, address)

    def bind_output(self, *arguments: Any) -> None:
        self.binding.bind_output(*arguments)


def test_failing_prompt_fails_alone(start_engine: StartEngine, causal_model: CausalModel) -> None:
    failing: Any = FailingSession(causal_model.session, poison=299)
    engine = start_engine(replace(causal_model, session=failing), slots=2)
    prompt = random_prompt(4, 20, vocabulary=299)
    other = engine.submit(greedy(prompt, 20))
    with pytest.raises(RuntimeError, match="bad allocation"):
        list(engine.submit(greedy((*prompt, 299), 5)))
    assert choices(other)[0] == greedy_reference(causal_model, prompt, 20)
    _wait_until_idle(engine)


def test_failing_row_of_a_shared_pass_fails_alone(
    start_engine: StartEngine, causal_model: CausalModel
) -> None:
    prompts = [random_prompt(seed, 20) for seed in range(30, 33)]
    expected = [greedy_reference(causal_model, prompt, 20) for prompt in prompts]
    poison = next(
        token for token in expected[1] if token not in {*expected[0], *expected[2], *sum(prompts, ())}
    )
    failing: Any = FailingSession(causal_model.session, poison)
    engine = start_engine(replace(causal_model, session=failing), slots=4)
    generations = [engine.submit(greedy(prompt, 20, lookup=False)) for prompt in prompts]
    told: list[GenerationEvent] = []
    with pytest.raises(RuntimeError, match="bad allocation"):
        told.extend(generations[1])
    before = expected[1][: expected[1].index(poison) + 1]
    assert [event.token_id for event in told if isinstance(event, TokenEvent)] == before
    assert [choices(generations[index])[0] for index in (0, 2)] == [expected[0], expected[2]]
    _wait_until_idle(engine)


class _FailingConstraint:
    """Fails at the second token."""

    finished = False

    def __init__(self) -> None:
        self._accepted = 0

    def mask(self) -> None:
        return None

    def accept(self, token_id: int) -> None:
        self._accepted += 1
        if self._accepted == 2:
            raise ValueError("the grammar is broken")

    def copy(self) -> "_FailingConstraint":
        return _FailingConstraint()


def test_failing_constraint_fails_its_request_alone(
    start_engine: StartEngine, causal_model: CausalModel
) -> None:
    engine = start_engine(slots=2)
    prompt = random_prompt(5, 20)
    other = engine.submit(greedy(prompt, 20))
    with pytest.raises(ValueError, match="grammar is broken"):
        list(engine.submit(greedy(prompt, 20, constraint=_FailingConstraint())))
    assert choices(other)[0] == greedy_reference(causal_model, prompt, 20)
    _wait_until_idle(engine)


def test_no_slot_is_lost_over_a_thousand_random_requests(
    start_engine: StartEngine, causal_model: CausalModel
) -> None:
    engine = start_engine(slots=4, prefix_bytes=64 * 1024, prefill_chunk=32)
    rng = np.random.default_rng(8)
    prompts = [random_prompt(seed, int(rng.integers(1, 80))) for seed in range(12)]
    expected = [greedy_reference(causal_model, prompt, 6) for prompt in prompts]

    def client(seed: int) -> None:
        own = np.random.default_rng(seed)
        for _ in range(250):
            _ask(engine, prompts, expected, own)

    failures: list[BaseException] = []
    clients = [threading.Thread(target=_catching, args=(client, seed, failures)) for seed in range(4)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert not failures
    _wait_until_idle(engine)
    assert engine.statistics().free_slots == 4
    assert decode(engine, greedy(prompts[0], 6)) == expected[0]


def _catching(client: Any, seed: int, failures: list[BaseException]) -> None:
    try:
        client(seed)
    except BaseException as error:
        failures.append(error)


def _ask(
    engine: CausalEngine,
    prompts: list[tuple[int, ...]],
    expected: list[list[int]],
    rng: np.random.Generator,
) -> None:
    number = int(rng.integers(len(prompts)))
    match int(rng.integers(5)):
        case 0:
            _leave(engine.submit(greedy(prompts[number], 50)), int(rng.integers(4)))
        case 1:
            sampling = SamplingSettings(n=2, temperature=1.0, max_tokens=3)
            assert len(choices(engine.submit(GenerationRequest(prompts[number], sampling)))) == 2
        case 2:
            beams = SamplingSettings(n=2, beams=2, max_tokens=3)
            assert len(choices(engine.submit(GenerationRequest(prompts[number], beams)))) == 2
        case _:
            assert decode(engine, greedy(prompts[number], 6)) == expected[number]


def _leave(generation: Generation, after: int) -> None:
    for _ in range(after):
        next(generation)
    generation.cancel()
