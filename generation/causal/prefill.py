"""Reading prompts, chunk by chunk, and what comes of a request when its prompt is read."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from generation.causal.beam import BeamSearch
from generation.causal.beams import BeamDecoding
from generation.causal.choosing import TokenChooser
from generation.causal.drafting import ConstrainedPath
from generation.causal.lookup import SequenceTokens
from generation.causal.model import CausalModel, PassRunner
from generation.causal.prefixes import PrefixStore
from generation.causal.requests import Generation, GenerationRequest
from generation.causal.running import RunningRequest
from generation.causal.sequences import DecodedSequence
from generation.causal.slots import SlotBuffer
from generation.causal.text_stream import TextStream

# The prompt with the least left is read first, but each so many chunks the oldest, so that none starves.
_OLDEST_EACH = 4


class PromptReader:
    """Reads the prompts of requests that have slots. chunk: tokens of a pass. passes: so far."""

    def __init__(
        self, model: CausalModel, runner: PassRunner, slots: SlotBuffer, prefixes: PrefixStore, chunk: int
    ) -> None:
        self.passes = 0
        self._model = model
        self._runner = runner
        self._slots = slots
        self._prefixes = prefixes
        self._chunk = chunk

    def start(self, request: GenerationRequest, generation: Generation, slots: list[int]) -> RunningRequest:
        """Give a request its slots, and fill the first with what is known of the prompt."""
        prompt = np.asarray(request.prompt, dtype=np.int64)
        longest = min(request.sampling.max_tokens, self._slots.max_tokens - len(prompt))
        sampling = replace(request.sampling, max_tokens=longest)
        cached = self._prefixes.load(self._slots, slots[0], prompt) if request.prefix_cache else 0
        return RunningRequest(request, generation, prompt, sampling, slots, cached)

    def choose(self, reading: Sequence[RunningRequest]) -> RunningRequest:
        """The request whose prompt is to be read next. reading: in the order in which they came."""
        if self.passes % _OLDEST_EACH == 0:
            return reading[0]
        return min(reading, key=lambda each: len(each.prompt) - int(self._slots.lengths[each.slots[0]]))

    def read(self, running: RunningRequest) -> None:
        """Read the next chunk; after the last, choose the first tokens of the answer."""
        slot = running.slots[0]
        start = int(self._slots.lengths[slot])
        token_ids = running.prompt[start : start + self._chunk]
        last = start + len(token_ids) == len(running.prompt)
        # The last place is asked for even if nobody wants it: int8 kernels are not made for empty tensors.
        wanted = np.asarray([len(token_ids) - 1], dtype=np.int64)
        logits = self._runner.run(slot, token_ids[None], wanted, shrink=last)
        self._slots.lengths[slot] += len(token_ids)
        self.passes += 1
        if last:
            if running.request.prefix_cache:
                self._prefixes.save(self._slots, slot, running.prompt)
            self._begin(running, logits[0, 0])

    def _begin(self, running: RunningRequest, logits: NDArray[np.float32]) -> None:
        """Choose the first token of each choice. logits: (vocabulary,) after the prompt."""
        if running.sampling.beams > 1:
            search = BeamSearch(running.sampling, self._model.spec.eos, running.request.prompt)
            running.beams = BeamDecoding(search, running.slots, self._slots, running.request.constraint)
            running.beams.start(logits)
            return
        for slot in running.slots[1:]:
            self._slots.copy(running.slots[0], slot)
        running.sequences = [
            self._sequence(running, choice, slot) for choice, slot in enumerate(running.slots)
        ]
        for sequence in running.sequences:
            running.publish(sequence.take(sequence.choose(logits)))

    def _sequence(self, running: RunningRequest, choice: int, slot: int) -> DecodedSequence:
        request, sampling = running.request, running.sampling
        return DecodedSequence(
            choice=choice,
            slot=slot,
            tokens=SequenceTokens(running.prompt, len(running.prompt) + sampling.max_tokens),
            prompt_tokens=len(running.prompt),
            sampling=sampling,
            eos=frozenset(() if sampling.ignore_eos else self._model.spec.eos),
            chooser=TokenChooser(sampling, request.prompt, choice),
            stream=TextStream(self._model.tokenizer, sampling.stop),
            path=None if request.constraint is None else ConstrainedPath(request.constraint.copy()),
            lookup=request.lookup,
        )
