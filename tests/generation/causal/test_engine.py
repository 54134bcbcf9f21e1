import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embeddings.errors import InvalidInput, Overloaded
from generation.causal.engine import CausalEngine
from generation.causal.model import CausalModel
from generation.causal.requests import ChoiceFinished, Finished, GenerationRequest, TokenEvent
from generation.sampling import SamplingSettings
from tests.generation.causal.conftest import StartEngine
from tests.generation.causal.reference import (
    choices,
    decode,
    greedy,
    greedy_reference,
    random_prompt,
    read_whole,
    tokens_of,
    usage,
)
from tests.generation.causal.tiny_causal import TinyShape, write_tiny_causal


def test_greedy_equals_reading_everything_again_for_each_token(
    start_engine: StartEngine, causal_model: CausalModel
) -> None:
    prompt = random_prompt(1, 150)
    expected = greedy_reference(causal_model, prompt, 40)
    assert decode(start_engine(prefill_chunk=32), greedy(prompt, 40)) == expected
    assert decode(start_engine(prefill_chunk=32), greedy(prompt, 40, lookup=False)) == expected


def test_sliding_window_decodes_like_one_pass_over_everything(
    start_engine: StartEngine, tmp_path: Path
) -> None:
    model = CausalModel.load(write_tiny_causal(tmp_path, TinyShape(window=20)), threads=1)
    prompt = random_prompt(2, 70)
    expected = greedy_reference(model, prompt, 30)
    assert decode(start_engine(model, prefill_chunk=16), greedy(prompt, 30)) == expected


def test_requests_that_join_and_leave_at_random_get_what_they_would_alone(
    start_engine: StartEngine, causal_model: CausalModel
) -> None:
    engine = start_engine(slots=3, prefill_chunk=16)
    rng = np.random.default_rng(5)
    requests = [
        greedy(random_prompt(seed, int(rng.integers(1, 60))), int(rng.integers(1, 30))) for seed in range(25)
    ]
    got: dict[int, list[int]] = {}

    def client(number: int) -> None:
        for index in range(number, len(requests), 5):
            got[index] = decode(engine, requests[index])

    clients = [threading.Thread(target=client, args=(number,)) for number in range(5)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    for index, request in enumerate(requests):
        assert got[index] == greedy_reference(causal_model, request.prompt, request.sampling.max_tokens)


def test_seeded_samples_are_the_same_alone_in_a_crowd_and_with_speculation(
    start_engine: StartEngine,
) -> None:
    sampling = SamplingSettings(temperature=0.6, seed=11, max_tokens=25, n=2)
    request = GenerationRequest(random_prompt(3, 40) * 3, sampling)
    alone = choices(start_engine().submit(replace(request, lookup=False)))
    crowd = start_engine(slots=4)
    neighbours = [crowd.submit(greedy(random_prompt(seed, 30), 40)) for seed in (6, 7)]
    assert choices(crowd.submit(request)) == alone
    assert alone[0] != alone[1]
    assert all(len(choices(neighbour)[0]) == 40 for neighbour in neighbours)


def test_end_token_ends_the_answer_and_is_not_part_of_it(
    start_engine: StartEngine, causal_model: CausalModel
) -> None:
    prompt = random_prompt(4, 20)
    free = greedy_reference(causal_model, prompt, 12)
    ending = replace(causal_model, spec=_with_eos(causal_model, free[5]))
    events = list(start_engine(ending).submit(GenerationRequest(prompt, SamplingSettings(max_tokens=12))))
    (ended,) = [event for event in events if isinstance(event, ChoiceFinished)]
    expected = free[: free.index(free[5])]
    assert (list(ended.token_ids), ended.finish_reason) == (expected, "stop")
    assert events[-1] == Finished(len(prompt), len(expected), 0)


def _with_eos(model: CausalModel, token_id: int):  # type: ignore[no-untyped-def]
    return type(model.spec)(**{**_fields(model.spec), "eos": (token_id,)})


def _fields(spec: object) -> dict[str, object]:
    return {name: getattr(spec, name) for name in spec.__struct_fields__}  # type: ignore[attr-defined]


def test_stop_sequence_ends_the_answer_before_it(start_engine: StartEngine) -> None:
    prompt = random_prompt(8, 20)
    engine = start_engine()
    whole = _answer(engine, prompt, SamplingSettings(max_tokens=30, ignore_eos=True))
    stop = whole.text[10:13]
    cut = _answer(engine, prompt, SamplingSettings(max_tokens=30, ignore_eos=True, stop=(stop,)))
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"


def _answer(engine: CausalEngine, prompt: tuple[int, ...], sampling: SamplingSettings) -> ChoiceFinished:
    events = list(engine.submit(GenerationRequest(prompt, sampling)))
    (ended,) = [event for event in events if isinstance(event, ChoiceFinished)]
    assert ended.text.startswith("".join(event.text for event in tokens_of(events)))
    return ended


def test_logprobs_are_those_of_the_model(start_engine: StartEngine, causal_model: CausalModel) -> None:
    prompt = random_prompt(9, 30)
    sampling = SamplingSettings(max_tokens=6, logprobs=3, ignore_eos=True, repetition_penalty=1.5)
    events = tokens_of(start_engine().submit(GenerationRequest(prompt, sampling)))
    token_ids = [event.token_id for event in events]
    logits = read_whole(causal_model, [*prompt, *token_ids])[len(prompt) - 1 : -1].astype(np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert [event.logprob for event in events] == pytest.approx(
        log_probs[range(len(token_ids)), token_ids], abs=1e-4
    )
    for event, row in zip(events, log_probs, strict=True):
        assert [token_id for token_id, _ in event.top] == np.argsort(-row)[:3].tolist()


def test_answer_ends_where_the_context_does(start_engine: StartEngine) -> None:
    events = list(start_engine(max_tokens=32).submit(greedy(random_prompt(10, 30), 20)))
    (ended,) = [event for event in events if isinstance(event, ChoiceFinished)]
    assert (len(ended.token_ids), ended.finish_reason) == (2, "length")


def test_long_prompt_is_read_between_the_tokens_of_others(start_engine: StartEngine) -> None:
    engine = start_engine(prefill_chunk=16)
    other = engine.submit(greedy(random_prompt(11, 8), 300, lookup=False))
    next(other)
    passes = engine.statistics()
    first_token = next(engine.submit(greedy(random_prompt(12, 320), 1)))
    now = engine.statistics()
    assert isinstance(first_token, TokenEvent)
    assert now.prefill_passes - passes.prefill_passes == 20
    # A token for each chunk; the last chunk gives the long prompt's first token before the other's next one.
    assert now.decoding.tokens - passes.decoding.tokens >= 18
    other.cancel()


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (greedy(random_prompt(1, 64), 5), "prompt"),
        (greedy((), 5), "prompt"),
        (greedy((1, 300), 5), "prompt"),
        (GenerationRequest((1, 2), SamplingSettings(n=3)), "n"),
        (GenerationRequest((1, 2), SamplingSettings(beams=3)), "beams"),
        (GenerationRequest((1, 2), SamplingSettings(logit_bias=((300, 1.0),))), "logit_bias"),
    ],
)
def test_what_the_slots_cannot_hold_is_refused_at_once(
    start_engine: StartEngine, request_: GenerationRequest, field: str
) -> None:
    engine = start_engine(slots=2, max_tokens=64)
    with pytest.raises(InvalidInput) as refusal:
        engine.submit(request_)
    assert refusal.value.field == field
    assert engine.statistics().free_slots == 2


def test_full_queue_refuses_and_serves_on(start_engine: StartEngine) -> None:
    engine = start_engine(slots=1, queue=2)
    running = engine.submit(greedy(random_prompt(13, 8), 400, lookup=False))
    next(running)
    waiting = [engine.submit(greedy(random_prompt(14, 8), 2)) for _ in range(2)]
    with pytest.raises(Overloaded, match="2 requests wait") as refusal:
        engine.submit(greedy((1,), 2))
    assert refusal.value.retry_after_s == 1
    waiting[0].cancel()
    last = engine.submit(greedy((1,), 2))
    running.cancel()
    assert len(choices(waiting[1])[0]) == len(choices(last)[0]) == 2


def test_request_for_many_slots_is_not_overtaken_for_ever(start_engine: StartEngine) -> None:
    engine = start_engine(slots=2)
    running = engine.submit(greedy((1, 2, 3), 200, lookup=False))
    next(running)
    many = engine.submit(GenerationRequest((4, 5), SamplingSettings(n=2, temperature=1.0, max_tokens=3)))
    later = engine.submit(greedy((6,), 3))
    assert engine.statistics().queued == 2
    running.cancel()
    assert len(choices(many)) == 2
    assert len(choices(later)[0]) == 3


async def test_events_arrive_on_an_event_loop(start_engine: StartEngine, causal_model: CausalModel) -> None:
    engine = start_engine()

    async def collect(prompt: tuple[int, ...]) -> list[int]:
        events = [event async for event in engine.submit(greedy(prompt, 15))]
        return choices(events)[0]

    prompts = [random_prompt(seed, 20) for seed in range(20, 24)]
    answers = await asyncio.gather(*map(collect, prompts))
    assert answers == [greedy_reference(causal_model, prompt, 15) for prompt in prompts]


def test_closing_fails_what_runs_and_what_waits(start_engine: StartEngine) -> None:
    engine = start_engine(slots=1)
    running = engine.submit(greedy((1, 2, 3), 400, lookup=False))
    next(running)
    waiting = engine.submit(greedy((4,), 2))
    engine.close()
    for generation in (running, waiting):
        with pytest.raises(Overloaded, match="closed"):
            list(generation)
    with pytest.raises(Overloaded, match="closed"):
        engine.submit(greedy((4,), 2))


def test_samples_of_one_prompt_read_it_once(start_engine: StartEngine) -> None:
    engine = start_engine(prefill_chunk=64)
    sampling = SamplingSettings(temperature=1.0, seed=1, n=4, max_tokens=5)
    events = list(engine.submit(GenerationRequest(random_prompt(15, 60), sampling)))
    assert engine.statistics().prefill_passes == 1
    assert len(choices(events)) == 4
    assert usage(events).completion_tokens == sum(map(len, choices(events)))


class _Waiting:
    """The model's session; its second pass after the prompt waits until somebody has read a token."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._passes = 0
        self.read = threading.Event()
        self.was_read = False

    def io_binding(self) -> Any:
        return self._session.io_binding()

    def run_with_iobinding(self, binding: Any, options: Any = None) -> None:
        self._passes += 1
        if self._passes == 3:
            self.was_read = self.read.wait(timeout=10)
        self._session.run_with_iobinding(binding, options)


def test_token_is_told_before_the_next_one_is_computed(
    start_engine: StartEngine, causal_model: CausalModel
) -> None:
    session = _Waiting(causal_model.session)
    engine = start_engine(replace(causal_model, session=session))  # type: ignore[arg-type]
    generation = engine.submit(greedy(random_prompt(8, 20), 3, lookup=False))
    next(generation)
    next(generation)
    session.read.set()
    assert [type(event) for event in generation] == [TokenEvent, ChoiceFinished, Finished]
    assert session.was_read
