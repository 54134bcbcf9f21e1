"""The grounded reader: a decoder that answers with a span of one passage, or refuses."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from embeddings.errors import InvalidInput
from generation.candidates import choose_token
from generation.decoder import Decoder, DecoderState
from generation.grounding import SpanCursor, answer_probability, mask_except, open_cursor, passage_runs
from generation.prompt import Prompt, build_prompt, encode_texts
from generation.sampling import SamplingSettings, StopMatcher
from generation.types import Passage, Reading

# What makes no sense for, or has no counterpart in, a span that is copied from a passage.
_UNHONOURED = (
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "no_repeat_ngram",
    "logit_bias",
    "logprobs",
    "n",
    "beams",
    "ignore_eos",
)


@dataclass(frozen=True, slots=True)
class _Outlook:
    """The decoder after the prompt: what the first token says of the question."""

    prompt: Prompt
    state: DecoderState
    cursors: tuple[SpanCursor, ...]
    answer_probability: float


class GroundedReader:
    """Reads with one decoder. Safe for several threads."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._layout = decoder.spec.layout

    @property
    def model_id(self) -> str:
        return self._decoder.model_id

    @property
    def passage_limit(self) -> int:
        return len(self._layout.passage_tokens)

    @property
    def refuse_below(self) -> float:
        """The threshold that the decoder was published with."""
        return self._decoder.spec.refuse_below

    def read(
        self,
        question: str,
        passages: Sequence[Passage],
        sampling: SamplingSettings,
        *,
        refuse_below: float | None,
        cancelled: Callable[[], bool],
    ) -> Iterator[str | Reading]:
        """Yield the answer's text piece by piece, in the source's casing, and the `Reading` last.

        Raises InvalidInput for a question that is too long, too many passages, or sampling that a copied span
        cannot honour, such as beams.
        """
        sampling.refuse(_UNHONOURED, "the bundled decoder")
        if cancelled():
            return
        outlook = self._look(question, passages)
        if refuse_below is not None and outlook.answer_probability < refuse_below:
            yield Reading(None, 0, 0, "", outlook.answer_probability, 1, len(outlook.prompt), "refused")
            return
        yield from self._write(outlook, passages, sampling, cancelled)

    def _look(self, question: str, passages: Sequence[Passage]) -> _Outlook:
        """Prefill, and weigh refusal against the passages. A passage without a word cannot hold the
        answer.
        """
        encoded = encode_texts(self._decoder.tokenizer, [question, *(passage.text for passage in passages)])
        prompt = build_prompt(self._layout, encoded[0], encoded[1:])
        runs = passage_runs(prompt, [encoding.word_ids for encoding in encoded[1:]])
        if not any(len(run.token_ids) for run in runs):
            raise InvalidInput(
                "no passage holds a word to answer with",
                field="passages",
                found="passages without words",
                expected="at least one passage with words",
            )
        state = self._decoder.start(prompt)
        probability = answer_probability(state.log_probs, self._layout, len(passages))
        return _Outlook(prompt, state, tuple(open_cursor(run) for run in runs), probability)

    def _write(
        self,
        outlook: _Outlook,
        passages: Sequence[Passage],
        sampling: SamplingSettings,
        cancelled: Callable[[], bool],
    ) -> Iterator[str | Reading]:
        layout, rng = self._layout, sampling.generator()
        cursor, state = self._choose_passage(outlook, sampling, rng)
        number = cursor.passage.tokens.number
        transcript = _Transcript(passages[number - 1].text, StopMatcher(sampling.stop))
        limit = min(sampling.max_tokens, layout.max_answer_tokens - 1)  # the marker takes a position too
        finish: Literal["stop", "length"] = "length"
        while cursor.length < limit:
            if cancelled():
                return
            token = choose_token(mask_except(state.log_probs, cursor.allowed(layout.end)), sampling, rng)
            if token == layout.end:
                finish = "stop"
                break
            cursor = cursor.advance(token, state.copy_probs)
            yield from transcript.tell(cursor.span())
            if transcript.stopped:
                finish = "stop"
                break
            state = self._decoder.advance(state, token)
        yield from transcript.finish()
        start, end = transcript.span(cursor.span())
        answer = passages[number - 1].text[start:end]
        tokens = cursor.length + 2 if finish == "stop" else cursor.length + 1
        yield Reading(
            number, start, end, answer, outlook.answer_probability, tokens, len(outlook.prompt), finish
        )

    def _choose_passage(
        self, outlook: _Outlook, sampling: SamplingSettings, rng: np.random.Generator
    ) -> tuple[SpanCursor, DecoderState]:
        """Write the first token of an answer: the marker of the passage that it will come from."""
        tokens = self._layout.passage_tokens
        markers = [tokens[i] for i, cursor in enumerate(outlook.cursors) if len(cursor.ends)]
        marker = choose_token(mask_except(outlook.state.log_probs, np.asarray(markers)), sampling, rng)
        return outlook.cursors[tokens.index(marker)], self._decoder.advance(outlook.state, marker)


class _Transcript:
    """The part of a passage that has been told, up to a stop sequence."""

    def __init__(self, text: str, matcher: StopMatcher) -> None:
        self._text = text
        self._matcher = matcher
        self._pushed = 0
        self._released = 0

    @property
    def stopped(self) -> bool:
        return self._matcher.stopped

    def tell(self, span: tuple[int, int]) -> Iterator[str]:
        """Yield what the longer span adds, as far as it cannot be the beginning of a stop sequence."""
        piece = self._text[span[0] + self._pushed : span[1]]
        self._pushed += len(piece)
        yield from self._release(self._matcher.push(piece))

    def finish(self) -> Iterator[str]:
        """Yield what was held back."""
        yield from self._release(self._matcher.flush())

    def span(self, written: tuple[int, int]) -> tuple[int, int]:
        """The span without what followed a stop sequence, and without blanks before it."""
        start, end = written
        if self.stopped:
            end = start + len(self._text[start : start + self._released].rstrip())
        return start, end

    def _release(self, piece: str) -> Iterator[str]:
        self._released += len(piece)
        if piece:
            yield piece
