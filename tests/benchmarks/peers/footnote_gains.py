"""What Footnote's engine has and the peers don't: guesses from the prompt, the store of prefixes; and whether
many requests make it grow.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import footnote_decoder
import numpy as np
from numpy.typing import NDArray
from worker import status_mb

from generation.causal.constraints import Constraint, ConstraintCompiler
from generation.causal.requests import Finished, GenerationRequest, TokenEvent
from generation.sampling import SamplingSettings

# A token that no answer holds. Beside the token to copy it is the only choice, and one that is never taken:
# so nothing is forced, and what is guessed has to be found in the prompt and verified.
NEVER = 5
MARKS = ("[1]", "[2]", "[3]")


class Copying:
    """A `Constraint` under which a decoder that knows nothing writes a given text."""

    def __init__(self, token_ids: Sequence[int], vocabulary_size: int, place: int = 0) -> None:
        self._token_ids = token_ids
        self._vocabulary_size = vocabulary_size
        self._place = place

    @property
    def finished(self) -> bool:
        return self._place >= len(self._token_ids)

    def mask(self) -> NDArray[np.bool_]:
        allowed = np.zeros(self._vocabulary_size, dtype=np.bool_)
        allowed[[NEVER, *self._token_ids[self._place : self._place + 1]]] = True
        return allowed

    def accept(self, token_id: int) -> None:
        self._place += 1

    def copy(self) -> "Copying":
        return Copying(self._token_ids, self._vocabulary_size, self._place)


class Decoder(footnote_decoder.Decoder):
    """As in footnote_decoder.py, with measurements of its own."""

    def answer(self, records: str, constraint: str, lookup: bool) -> Mapping[str, object]:
        """Answer RAG prompts one by one. records: JSON list of {prompt, answer (both token ids), passages}.

        constraint: "copying" writes the record's answer, "grounded" any stretch of the passages. Returns
        tokens and seconds behind the first token of each, and how many guessed tokens were right.
        """
        before = self._engine.statistics().decoding
        drafted, accepted = before.drafted, before.accepted
        tokens, seconds = 0, 0.0
        for record in _read(records):
            times = self._time_answer(record, constraint, lookup)
            tokens += len(times) - 1
            seconds += times[-1] - times[0]
        after = self._engine.statistics().decoding
        counts = {"drafted": after.drafted - drafted, "accepted": after.accepted - accepted}
        return {"tokens": tokens, "seconds": seconds, **counts}

    def _time_answer(self, record: Mapping[str, Any], constraint: str, lookup: bool) -> list[float]:
        sampling = SamplingSettings(max_tokens=len(record["answer"]), ignore_eos=True)
        bound = self._constraint(record, constraint)
        if constraint == "copying":
            sampling = replace(sampling, logit_bias=((NEVER, -100.0),))
        request = GenerationRequest(
            tuple(record["prompt"]), sampling, constraint=bound, lookup=lookup, prefix_cache=False
        )
        times: list[float] = []
        footnote_decoder.follow(self._engine.submit(request), times)
        return times

    def _constraint(self, record: Mapping[str, Any], kind: str) -> Constraint:
        spec = self._model.spec
        if kind == "copying":
            return Copying(record["answer"], spec.vocabulary_size)
        compiler = ConstraintCompiler(self._model.tokenizer, spec.vocabulary_size, spec.eos)
        return compiler.grounded(record["passages"], MARKS)

    def reuse(self, prompts: str) -> Mapping[str, object]:
        """Time to the first token of prompts that come in groups with the same beginning.

        prompts: JSON list of groups of token id lists. cold_s: median of the first of each group; warm_s: of
        the others; cached_tokens: of these, median.
        """
        cold, warm, cached = [], [], []
        for group in _read(prompts):
            for place, prompt in enumerate(group):
                seconds, found = self._first_token(prompt)
                (warm if place else cold).append(seconds)
                if place:
                    cached.append(found)
        return {"cold_s": median(cold), "warm_s": median(warm), "cached_tokens": median(cached)}

    def _first_token(self, prompt: Sequence[int]) -> tuple[float, int]:
        """Seconds to the first token, and the prompt's tokens that needed no prefill."""
        started, seconds, cached = time.perf_counter(), 0.0, 0
        request = GenerationRequest(tuple(prompt), SamplingSettings(max_tokens=1, ignore_eos=True))
        for event in self._engine.submit(request):
            if isinstance(event, TokenEvent):
                seconds = time.perf_counter() - started
            elif isinstance(event, Finished):
                cached = event.cached_tokens
        return seconds, cached

    def repeat(self, requests: int, settled: int, seed: int = 0) -> Mapping[str, object]:
        """Send short requests of many lengths, and tell the memory after `settled` of them and after all."""
        rng = np.random.default_rng(seed)
        settled_mb = status_mb("VmRSS")
        started = time.perf_counter()
        for number in range(requests):
            if number == settled:
                settled_mb = status_mb("VmRSS")
            prompt = rng.integers(10, self._model.spec.vocabulary_size, rng.integers(4, 25)).tolist()
            sampling = SamplingSettings(max_tokens=int(rng.integers(1, 4)), ignore_eos=True)
            footnote_decoder.follow(self._engine.submit(GenerationRequest(tuple(prompt), sampling)), [])
        return {
            "settled_mb": settled_mb,
            "ended_mb": status_mb("VmRSS"),
            "seconds": time.perf_counter() - started,
        }


def _read(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))
