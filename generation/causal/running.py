"""A request that has slots: first its prompt is read, then its choices are decoded."""

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from generation.causal.beams import BeamDecoding
from generation.causal.decoding import PassRow
from generation.causal.requests import (
    ChoiceFinished,
    Finished,
    Generation,
    GenerationEvent,
    GenerationRequest,
)
from generation.causal.sequences import DecodedSequence
from generation.sampling import SamplingSettings


@dataclass(slots=True, eq=False)
class RunningRequest:
    """slots: as many as choices or beams; the first of them reads the prompt. sampling: with max_tokens cut
    to what the context holds. cached_tokens: of the prompt, that needed no prefill. sequences, beams: empty
    and None until the prompt is read; then the one or the other. untold: events that the reader hears of when
    the next pass begins.
    """

    request: GenerationRequest
    generation: Generation
    prompt: NDArray[np.int64]
    sampling: SamplingSettings
    slots: list[int]
    cached_tokens: int = 0
    sequences: list[DecodedSequence] = field(default_factory=list)
    beams: BeamDecoding | None = None
    completion_tokens: int = 0
    untold: list[GenerationEvent] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def reading(self) -> bool:
        """Whether the prompt is still being read."""
        return self.beams is None and not self.sequences

    @property
    def done(self) -> bool:
        """Whether every choice is complete."""
        if self.beams is not None:
            return self.beams.over
        return bool(self.sequences) and all(each.finish is not None for each in self.sequences)

    @property
    def unfinished(self) -> list[DecodedSequence]:
        """Choices that go on."""
        return [each for each in self.sequences if each.finish is None]

    def move(self, source: int, target: int) -> None:
        """Note that a slot's state lies in another one now."""
        self.slots[self.slots.index(source)] = target
        for sequence in self.sequences:
            if sequence.slot == source:
                sequence.slot = target

    def publish(self, events: list[GenerationEvent]) -> None:
        """Have events told, and count the tokens of the choices that they end."""
        ended = [event for event in events if isinstance(event, ChoiceFinished)]
        self.completion_tokens += sum(len(event.token_ids) for event in ended)
        self.untold += events

    def publish_end(self) -> None:
        """Tell that it is over."""
        self.untold.append(Finished(len(self.prompt), self.completion_tokens, self.cached_tokens))
        self.tell()

    def tell(self) -> None:
        """Tell what is untold; when a pass begins, so that readers wake up while it computes, not while the
        engine's thread needs Python's lock.
        """
        events, self.untold = self.untold, []
        self.generation.publish(events)

    def fail(self, error: BaseException) -> None:
        """End with an error, after what is untold."""
        self.tell()
        self.generation.fail(error)


@dataclass(frozen=True, slots=True)
class PassPart:
    """What one choice, or all beams of a request, have in a shared pass. sequence: None for beams."""

    running: RunningRequest
    sequence: DecodedSequence | None = None

    def rows(self) -> list[PassRow]:
        """What the pass has to read."""
        if self.sequence is not None:
            return [PassRow(self.sequence.slot, int(self.sequence.tokens.ids[-1]))]
        return [] if self.running.beams is None else self.running.beams.rows()

    def take(self, logits: NDArray[np.float32]) -> None:
        """Go on with what the pass gave. logits: (rows, vocabulary)."""
        if self.sequence is not None:
            self.running.publish(self.sequence.take(self.sequence.choose(logits[0])))
        elif self.running.beams is not None:
            self.running.beams.advance(logits)
