"""onnxruntime-genai on a folder of its own builder. Variants: one-by-one and static, how `serve` goes about.

The folder says the precision: `python -m onnxruntime_genai.models.builder` made it.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime_genai as og
from decoder_contract import Arrival, Timeline, TokenIds, wait_until

SLOTS = 8


class Decoder:
    """As in decoder_contract.py."""

    def __init__(self, model: Path, variant: str, threads: int) -> None:
        """threads: in the folder's genai_config.json, where the benchmark put them."""
        self._model = og.Model(str(model))
        self._batch = {"": 1, "one-by-one": 1, "static": SLOTS}[variant]

    def generate(self, prompts: Sequence[TokenIds], new_tokens: int) -> Timeline:
        ids = np.asarray(prompts, dtype=np.int32)
        timeline = Timeline.begin(len(prompts))
        generator = self._open(*ids.shape, new_tokens)
        generator.append_tokens(ids)
        for _ in range(new_tokens):
            generator.generate_next_token()
            timeline.note()
        timeline.tokens = [
            [int(each) for each in generator.get_sequence(row)[ids.shape[1] :]] for row in range(len(prompts))
        ]
        return timeline

    def serve(self, arrivals: Sequence[Arrival]) -> list[float]:
        """What waits is decoded together, up to the batch of the variant; what comes meanwhile waits."""
        started, ended, done = time.perf_counter(), [0.0] * len(arrivals), 0
        while done < len(arrivals):
            wait_until(started, arrivals[done].at_s)
            now = time.perf_counter() - started
            there = sum(each.at_s <= now for each in arrivals)
            batch = arrivals[done : min(there, done + self._batch)]
            for place, seconds in enumerate(self._decode(batch), start=done):
                ended[place] = seconds - started
            done += len(batch)
        return ended

    def _decode(self, batch: Sequence[Arrival]) -> list[float]:
        """Decode a batch to the end of its longest; the times at which each had all its tokens."""
        longest = max(len(each.prompt) for each in batch)
        new_tokens = max(each.new_tokens for each in batch)
        # Padding on the left, as for any static batch; the tokens that stand there cost what others do.
        ids = np.asarray([[0] * (longest - len(each.prompt)) + each.prompt for each in batch], dtype=np.int32)
        generator = self._open(*ids.shape, new_tokens)
        generator.append_tokens(ids)
        times = []
        for _ in range(new_tokens):
            generator.generate_next_token()
            times.append(time.perf_counter())
        return [times[each.new_tokens - 1] for each in batch]

    def _open(self, batch: int, length: int, new_tokens: int) -> og.Generator:
        parameters = og.GeneratorParams(self._model)
        total = length + new_tokens
        parameters.set_search_options(batch_size=batch, do_sample=False, min_length=total, max_length=total)
        return og.Generator(self._model, parameters)
