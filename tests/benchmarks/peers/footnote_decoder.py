"""Footnote's decoder engine on a converted folder, which says the precision. Variants: none."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from decoder_contract import Arrival, Timeline, TokenIds, wait_until

from generation.causal.engine import CausalEngine
from generation.causal.model import CausalModel
from generation.causal.options import EngineOptions
from generation.causal.requests import Generation, GenerationRequest, TokenEvent
from generation.sampling import SamplingSettings

SLOTS = 8
MAX_TOKENS = 1_024


class Decoder:
    """As in decoder_contract.py."""

    def __init__(self, model: Path, variant: str, threads: int) -> None:
        self._model = CausalModel.load(model, threads)
        self._engine = CausalEngine(self._model, EngineOptions(slots=SLOTS, max_tokens=MAX_TOKENS))

    def generate(self, prompts: Sequence[TokenIds], new_tokens: int) -> Timeline:
        timeline = Timeline.begin(len(prompts))
        generations = [self._submit(prompt, new_tokens) for prompt in prompts]
        with ThreadPoolExecutor(len(prompts)) as readers:
            timeline.tokens = list(readers.map(follow, generations, timeline.times))
        return timeline

    def serve(self, arrivals: Sequence[Arrival]) -> list[float]:
        started = time.perf_counter()

        def ask(arrival: Arrival) -> float:
            wait_until(started, arrival.at_s)
            times: list[float] = []
            follow(self._submit(arrival.prompt, arrival.new_tokens), times)
            return times[-1] - started

        with ThreadPoolExecutor(len(arrivals)) as clients:
            return list(clients.map(ask, arrivals))

    def _submit(self, prompt: TokenIds, new_tokens: int) -> Generation:
        """Nothing is guessed, and nothing taken from the store: the same work as the peers'."""
        sampling = SamplingSettings(max_tokens=new_tokens, ignore_eos=True)
        request = GenerationRequest(tuple(prompt), sampling, lookup=False, prefix_cache=False)
        return self._engine.submit(request)


def follow(generation: Generation, times: list[float]) -> list[int]:
    """Read all events; the time of each token goes into `times`."""
    tokens: list[int] = []
    for event in generation:
        if isinstance(event, TokenEvent):
            times.append(time.perf_counter())
            tokens.append(event.token_id)
    return tokens
