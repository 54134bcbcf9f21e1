"""The grounded reader: a decoder that answers in the words of one passage, or refuses.

It reads its answer again before it tells it: the decoder's verdict, the answer's likelihood and its rivals
are weighed into the probability that the answer is right, and what falls below the threshold is withheld.
"""

import math
from collections.abc import Callable, Iterator, Sequence

from generation.confidence import Signals
from generation.coverage import coverage
from generation.decoder import Decoder
from generation.outlook import Outlook, look
from generation.prompt import AnswerStyle
from generation.question_style import answer_style
from generation.sampling import SamplingSettings, StopMatcher
from generation.sentence_reading import likely_sentences, write_sentences
from generation.span_drawing import draw_span
from generation.span_search import SearchLimits, SpanSearch, best_answer, search_span
from generation.tracing import ReaderTrace, rival_answers, rival_sentences, trace_tokens, weighed_passages
from generation.types import Passage, Reading
from generation.written import Written

# What makes no sense for, or has no counterpart in, words that are copied from a passage.
UNHONOURED = (
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


class GroundedReader:
    """Reads with one decoder. Safe for several threads."""

    def __init__(
        self, decoder: Decoder, limits: SearchLimits | None = None, style: AnswerStyle | None = None
    ) -> None:
        """limits: of the search for spans. style: "span" or "sentences" for all answers; None goes by
        the question.
        """
        self._decoder = decoder
        self._layout = decoder.spec.layout
        self._limits = limits or SearchLimits()
        self._style = style

    def styled(self, style: AnswerStyle | None) -> "GroundedReader":
        """The same with answers of this style."""
        return GroundedReader(self._decoder, self._limits, style)

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
        """Yield the answer's text once it is known to be told, in the source's casing, and the `Reading`
        last.

        cancelled: asked before each pass.
        Raises InvalidInput for a question that is too long, too many passages, or sampling that copied words
        cannot honour, such as beams.
        """
        sampling.refuse(UNHONOURED, "the bundled decoder")
        if cancelled():
            return
        style = self._style or answer_style(question)
        outlook = look(self._decoder, question, [passage.text for passage in passages], style)
        written = self._write(outlook, passages, sampling, style, cancelled)
        if written is None or cancelled():
            return
        text = passages[written.number - 1].text
        signals = self._signals(outlook, written, question, text)
        reading = self._reading(outlook, written, signals, text, sampling)
        if refuse_below is not None and reading.answer_probability < refuse_below:
            reading = _withheld(reading)
        if reading.text:
            yield reading.text
        yield reading

    def trace(
        self,
        question: str,
        passages: Sequence[Passage],
        sampling: SamplingSettings,
        *,
        alternatives: int,
        cancelled: Callable[[], bool],
    ) -> ReaderTrace | None:
        """Read as `read` does without ever refusing, and tell what was weighed; None when cancelled.

        alternatives: told with each token. Raises as `read` does.
        """
        sampling.refuse(UNHONOURED, "the bundled decoder")
        style = self._style or answer_style(question)
        outlook = look(self._decoder, question, [passage.text for passage in passages], style)
        search = SpanSearch(outlook.branches, self._layout.end, self._longest(sampling), self._limits)
        if style == "span" and not search.run(outlook.roots, cancelled):
            return None
        if style == "span" and sampling.greedy:
            written: Written | None = best_answer(search)
        else:
            written = self._write(outlook, passages, sampling, style, cancelled)
        if written is None or cancelled():
            return None
        text = passages[written.number - 1].text
        tokens = trace_tokens(outlook, written, text, self._decoder.tokenizer, self._layout.end, alternatives)
        signals = self._signals(outlook, written, question, text)
        reading = self._reading(outlook, written, signals, text, sampling)
        if style == "span":
            rivals = rival_answers(search.spans, passages)
        else:
            rivals = rival_sentences(likely_sentences(outlook, passages, self._longest(sampling)), passages)
        return ReaderTrace(style, reading, weighed_passages(outlook), rivals, tokens)

    def _write(
        self,
        outlook: Outlook,
        passages: Sequence[Passage],
        sampling: SamplingSettings,
        style: AnswerStyle,
        cancelled: Callable[[], bool],
    ) -> Written | None:
        end, longest = self._layout.end, self._longest(sampling)
        if style == "sentences":
            return write_sentences(outlook, passages, end, longest, sampling, cancelled)
        if sampling.greedy:
            return search_span(outlook, end, longest, cancelled, self._limits)
        return draw_span(outlook, end, longest, sampling, cancelled)

    def _longest(self, sampling: SamplingSettings) -> int:
        return min(sampling.max_tokens, self._layout.max_answer_tokens - 3)  # marker, end, verdict

    def _signals(self, outlook: Outlook, written: Written, question: str, text: str) -> Signals:
        """Let the decoder read its answer to the end and give its verdict."""
        verdict = outlook.branches.behind((*written.tokens, self._layout.end)).log_probs
        return Signals(
            answer_logit=outlook.answer_logit,
            verdict_logit=float(verdict[self._layout.accept] - verdict[self._layout.refuse]),
            log_likelihood=written.log_likelihood,
            margin=written.margin,
            coverage=coverage(question, text, written.start, written.end),
            tokens=float(len(written.tokens) - 1),
            passages=float(outlook.passages),
            sentences=float(written.sentences > 0),
        )

    def _reading(
        self, outlook: Outlook, written: Written, signals: Signals, text: str, sampling: SamplingSettings
    ) -> Reading:
        told, stopped = _cut_at_stop(text[written.start : written.end], sampling.stop)
        return Reading(
            passage_number=written.number,
            start=written.start,
            end=written.start + len(told),
            text=told,
            answer_probability=self._probability(signals),
            tokens=len(written.tokens) + (written.finish == "stop"),
            prompt_tokens=outlook.prompt_tokens,
            finish_reason="stop" if stopped else written.finish,
            signals=signals,
        )

    def _probability(self, signals: Signals) -> float:
        model = self._decoder.spec.confidence
        if model is None:
            return 0.5 * (1 + math.tanh(signals.answer_logit / 2))
        return model.probability(signals)


def _withheld(reading: Reading) -> Reading:
    return Reading(
        passage_number=None,
        start=0,
        end=0,
        text="",
        answer_probability=reading.answer_probability,
        tokens=reading.tokens,
        prompt_tokens=reading.prompt_tokens,
        finish_reason="refused",
        signals=reading.signals,
    )


def _cut_at_stop(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """The text in front of the first stop sequence, without blanks before it, and whether there was one."""
    matcher = StopMatcher(stop)
    before = matcher.push(text)
    return (before.rstrip(), True) if matcher.stopped else (text, False)
