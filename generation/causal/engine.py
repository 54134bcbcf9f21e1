"""The decoder engine: one thread that decodes all requests together.

Plain ONNX Runtime over slots of one buffer. Requests join and leave the batch at every token; long prompts
are read in chunks between the tokens of the others; beginnings of prompts that came before are copied from a
store instead of being read; guesses from the prompt are verified several tokens at a time.

What paged attention (Kwon et al., SOSP 2023) gives and this does not: ONNX Runtime's attention for
processors reads one contiguous stretch of memory for each sequence. So equal beginnings are copied into each
slot (about 3 % of what reading them costs) and not shared; a slot's address space is reserved for the
longest sequence, though only pages that were written take memory, and they stay taken until the engine
closes; a request that fits no slot waits even if the others are nearly empty; a sequence cannot be swapped
out for a more urgent one; and a prompt's chunk runs in a pass of its own beside the tokens of the others
rather than in the same one, because one pass takes several tokens for one sequence only.
"""

import math
import threading
from collections import deque
from dataclasses import dataclass, replace

from tokenizers import Tokenizer

from embeddings.errors import InvalidInput, Overloaded
from generation.causal.decoding import DecodingCounts
from generation.causal.model import CausalModel
from generation.causal.options import EngineOptions
from generation.causal.prefixes import PrefixStatistics, PrefixStore
from generation.causal.requests import Generation, GenerationRequest
from generation.causal.scheduling import QueuedRequest, Scheduler
from generation.causal.slots import SlotBuffer
from generation.causal.spec import CausalSpec


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """active: requests that have slots; queued: that wait for them; free_slots: now; prefill_passes: so far,
    each over a chunk of a prompt.
    """

    active: int
    queued: int
    free_slots: int
    prefill_passes: int
    decoding: DecodingCounts
    prefixes: PrefixStatistics


class CausalEngine:
    """Decodes requests from any thread. Raises InvalidInput for options that the model cannot have."""

    def __init__(self, model: CausalModel, options: EngineOptions | None = None) -> None:
        options = options or EngineOptions()
        self.model = model
        self.context_tokens = options.context_tokens(model.spec)
        self._slot_count = options.slots
        self._queue_limit = options.queue
        slots = SlotBuffer(model.spec.state, options.slots, self.context_tokens)
        prefixes = PrefixStore(model.model_id, options.prefix_bytes)
        self._scheduler = Scheduler(model, slots, prefixes, options.prefill_chunk)
        self._queue: deque[QueuedRequest] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="causal-engine", daemon=True)
        self._thread.start()

    @property
    def tokenizer(self) -> Tokenizer:
        return self.model.tokenizer

    @property
    def model_id(self) -> str:
        return self.model.model_id

    @property
    def spec(self) -> CausalSpec:
        return self.model.spec

    def submit(self, request: GenerationRequest) -> Generation:
        """Queue a request and return its events to come.

        Raises InvalidInput for a prompt or a number of choices that the slots don't hold, or a token that the
        vocabulary lacks; Overloaded when the queue is full or the engine closed.
        """
        self._check(request)
        generation = Generation(self._wake)
        with self._changed:
            if self._closing:
                raise _closed()
            self._drop_cancelled()
            if len(self._queue) >= self._queue_limit:
                raise self._full()
            self._queue.append(QueuedRequest(request, generation))
            self._changed.notify()
        return generation

    def statistics(self) -> EngineStatistics:
        """What it is doing, and has done."""
        scheduler = self._scheduler
        return EngineStatistics(
            active=len(scheduler.running),
            queued=len(self._queue),
            free_slots=scheduler.slots.free,
            prefill_passes=scheduler.reader.passes,
            decoding=replace(scheduler.decoder.counts),
            prefixes=scheduler.prefixes.statistics(),
        )

    def close(self) -> None:
        """Fail what runs and what waits with Overloaded, and end the thread. May be repeated."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _check(self, request: GenerationRequest) -> None:
        tokens = len(request.prompt)
        if not 1 <= tokens < self.context_tokens:
            raise InvalidInput(
                f"the prompt has {tokens} tokens; the decoder reads {self.context_tokens} with the answer",
                field="prompt",
                found=f"{tokens} tokens",
                expected=f"1 to {self.context_tokens - 1} tokens",
                next_step="shorten the prompt" if tokens else "send a prompt",
            )
        sampling, vocabulary = request.sampling, self.spec.vocabulary_size
        if not 0 <= min(request.prompt) <= max(request.prompt) < vocabulary:
            raise InvalidInput(
                f"the prompt has token ids from {min(request.prompt)} to {max(request.prompt)}",
                field="prompt",
                found=f"{max(request.prompt)}",
                expected=f"0 to {vocabulary - 1}",
            )
        sampling.check_token_ids(vocabulary)
        for field, needed in (("n", sampling.n), ("beams", sampling.beams)):
            if needed > self._slot_count:
                raise InvalidInput(
                    f"{field} is {needed}, the decoder has {self._slot_count} slots",
                    field=field,
                    found=str(needed),
                    expected=f"at most {self._slot_count}",
                )

    def _full(self) -> Overloaded:
        seconds = self._scheduler.seconds_per_request or 1.0  # until one has ended
        return Overloaded(
            f"{len(self._queue)} requests wait for the decoder, which is all that it lets wait",
            found=f"{len(self._queue)} requests",
            expected=f"fewer than {self._queue_limit}",
            next_step="try again later",
            retry_after_s=math.ceil(seconds / self._slot_count),
        )

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _run(self) -> None:
        while (admitted := self._wait_for_work()) is not None:
            try:
                for queued in admitted:
                    self._scheduler.admit(queued)
                self._scheduler.step(crowded=bool(self._queue))
            except Exception as error:  # nobody's in particular; the next requests shall find an engine
                self._scheduler.fail_all(error)
        self._scheduler.fail_all(_closed())
        for queued in self._queue:
            queued.generation.fail(_closed())

    def _wait_for_work(self) -> list[QueuedRequest] | None:
        """The next requests that there are slots for; None once the engine is closing.

        They are served in the order in which they came, so that none starves that needs many slots.
        """
        with self._changed:
            while not (self._closing or self._queue or self._scheduler.running):
                self._changed.wait()
            if self._closing:
                return None
            self._drop_cancelled()
            admitted: list[QueuedRequest] = []
            free = self._scheduler.slots.free
            while self._queue and self._queue[0].slots <= free:
                admitted.append(self._queue.popleft())
                free -= admitted[-1].slots
            return admitted

    def _drop_cancelled(self) -> None:
        if any(queued.generation.cancelled for queued in self._queue):
            waiting = [queued for queued in self._queue if not queued.generation.cancelled]
            self._queue.clear()
            self._queue.extend(waiting)


def _closed() -> Overloaded:
    return Overloaded(
        "the decoder is being closed",
        found="a closed engine",
        expected="a running one",
        next_step="try again once the service is back",
    )
