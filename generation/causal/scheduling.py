"""Continuous batching: who gets slots, whose prompt is read next, and what shares a pass."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from generation.causal.decoding import BatchDecoder
from generation.causal.model import CausalModel, PassRunner
from generation.causal.prefill import PromptReader
from generation.causal.prefixes import PrefixStore
from generation.causal.requests import Generation, GenerationRequest
from generation.causal.running import PassPart, RunningRequest
from generation.causal.slots import SlotBuffer

# A sequence is copied to lie closer to the others when it has so many tokens to go: copying costs as much as
# one or two passes over a slot less save in that time.
_WORTH_MOVING = 16
_MEMORY = 0.8  # of the average time that a request takes


@dataclass(frozen=True, slots=True)
class QueuedRequest:
    """Waits for slots."""

    request: GenerationRequest
    generation: Generation

    @property
    def slots(self) -> int:
        """How many it needs."""
        return max(self.request.sampling.n, self.request.sampling.beams)


class Scheduler:
    """Runs requests, one step at a time. For the one thread that owns it.

    A step reads at most one chunk of one prompt, and then decodes: a long prompt delays those who decode by
    a chunk for each of their tokens, not by all of it. What fails, fails alone.
    seconds_per_request: a running average; None before the first has ended.
    """

    def __init__(self, model: CausalModel, slots: SlotBuffer, prefixes: PrefixStore, chunk: int) -> None:
        runner = PassRunner(model, slots, self._tell)
        self.slots = slots
        self.prefixes = prefixes
        self.running: list[RunningRequest] = []
        self.reader = PromptReader(model, runner, slots, prefixes, chunk)
        self.decoder = BatchDecoder(runner, slots)
        self.seconds_per_request: float | None = None
        self._tokenizer = model.tokenizer

    def admit(self, queued: QueuedRequest) -> None:
        """Give a request the slots that it needs, of which so many must be free."""
        slots = [self.slots.take() for _ in range(queued.slots)]
        try:
            self.running.append(self.reader.start(queued.request, queued.generation, slots))
        except Exception as error:
            queued.generation.fail(error)
            for slot in slots:
                self.slots.release(slot)

    def step(self, *, crowded: bool) -> None:
        """Read of a prompt, if there is one to read, and decode. crowded: others wait for slots."""
        for running in [each for each in self.running if each.generation.cancelled]:
            self._release(running)
        self._read_prompt()
        if not crowded:  # else the gap is filled at once
            self._close_gap()
        self._decode()
        for running in [each for each in self.running if each.done]:
            self._guard(running, lambda: self._finish(running))  # noqa: B023  # called at once

    def fail_all(self, error: BaseException) -> None:
        """End everything that runs."""
        for running in list(self.running):
            self._fail(running, error)

    def _read_prompt(self) -> None:
        reading = [running for running in self.running if running.reading]
        if reading:
            running = self.reader.choose(reading)
            self._guard(running, lambda: self.reader.read(running))

    def _decode(self) -> None:
        decoding = [running for running in self.running if not running.reading]
        beams = [PassPart(running) for running in decoding if running.beams and not running.beams.over]
        parts = [PassPart(running, sequence) for running in decoding for sequence in running.unfinished]
        rows = len(parts) + sum(len(part.rows()) for part in beams)
        shared = [part for part in parts if not self._speculated(part, rows)]
        self._decode_together([*shared, *beams])

    def _speculated(self, part: PassPart, rows: int) -> bool:
        """Verify a guess for a sequence, if there is one that is worth a pass of its own, or fail at it."""
        sequence, handled = part.sequence, False

        def speculate() -> None:
            nonlocal handled
            if sequence is not None and len(draft := self.decoder.draft(sequence, rows)):
                handled = True
                part.running.publish(self.decoder.verify(sequence, draft))

        return not self._guard(part.running, speculate) or handled

    def _decode_together(self, parts: Sequence[PassPart]) -> None:
        """A pass for all; where it fails, one for each, to find whom it fails for."""
        parts = [part for part in parts if part.running in self.running]
        rows = [part.rows() for part in parts]
        if not parts:
            return
        try:
            logits = self.decoder.read_together([row for group in rows for row in group])
        except Exception as error:
            if len(parts) == 1:
                self._fail(parts[0].running, error)
            else:
                for part in parts:
                    self._decode_together([part])
            return
        start = 0
        for part, group in zip(parts, rows, strict=True):
            own = logits[start : start + len(group)]
            start += len(group)
            self._guard(part.running, lambda: part.take(own))  # noqa: B023  # called at once

    def _close_gap(self) -> None:
        """Move one sequence at an end of the used slots into a free one between, if that will pay."""
        owners = {sequence.slot: running for running in self.running for sequence in running.unfinished}
        gap = self.slots.lowest_free()
        if len(owners) < 2 or gap is None or not min(owners) < gap < max(owners):
            return
        source = max(owners)
        running = owners[source]
        sequence = next(each for each in running.sequences if each.slot == source)
        if sequence.sampling.max_tokens - sequence.generated >= _WORTH_MOVING:
            target = self.slots.take()
            self.slots.copy(source, target)
            running.move(source, target)
            self.slots.release(source)

    def _finish(self, running: RunningRequest) -> None:
        """Tell the end, and keep the state of the first choice: a conversation goes on from there."""
        if running.beams is not None:
            running.publish([*running.beams.finish(running.sampling, self._tokenizer)])
        elif running.request.prefix_cache:
            first = running.sequences[0]
            known = first.tokens.ids[: self.slots.lengths[first.slot]]
            self.prefixes.save(self.slots, first.slot, known)
        running.publish_end()
        self._record_time(time.monotonic() - running.started)
        self._release(running)

    def _record_time(self, seconds: float) -> None:
        known = self.seconds_per_request
        self.seconds_per_request = seconds if known is None else _MEMORY * known + (1 - _MEMORY) * seconds

    def _guard(self, running: RunningRequest, action: Callable[[], None]) -> bool:
        """Do something for one request, which fails if it fails. Returns whether it succeeded."""
        try:
            action()
        except Exception as error:
            self._fail(running, error)
            return False
        return True

    def _fail(self, running: RunningRequest, error: BaseException) -> None:
        running.fail(error)
        self._release(running)

    def _tell(self) -> None:
        for running in self.running:
            running.tell()

    def _release(self, running: RunningRequest) -> None:
        if running in self.running:
            self.running.remove(running)
            for slot in running.slots:
                self.slots.release(slot)
