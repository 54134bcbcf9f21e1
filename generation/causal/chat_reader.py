"""Reads passages with a chat decoder, local or remote: a prompt, an answer with marks, or a refusal."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Literal

from generation.causal.chat import ChatEvent, ChatModel, ChoiceDone, GroundedFormat, TextDelta, Usage
from generation.causal.marks import MarkReader
from generation.causal.prompt_template import PromptTemplate, default_prompt
from generation.causal.prompting import ChatPrompt, build_chat_prompt
from generation.causal.pulling import pull_events
from generation.causal.refusal import RefusalWatch
from generation.sampling import SamplingSettings
from generation.types import Draft, Passage, PromptReport

PASSAGE_LIMIT = 64
# Alternatives told with each token, among which the refusal is looked for. OpenAI's servers tell at most 20,
# others less.
TOP_LOGPROBS = 5
# What chat templates write of their own before the first turn, such as Llama's line with the date.
TEMPLATE_TOKENS = 64
# What a decoder that is held to the passages writes behind the refusal, which is none of them.
REFUSAL_MARK = "[0]"


@dataclass(frozen=True, slots=True)
class ReadingPlan:
    """One question as the decoder gets it. response: what holds it to the passages; None: nothing does."""

    template: PromptTemplate
    prompt: ChatPrompt
    sampling: SamplingSettings
    response: GroundedFormat | None


class ChatReader:
    """Answers from passages with a chat decoder. Safe for several threads.

    template: None takes the shipped one in each question's language.
    """

    passage_limit = PASSAGE_LIMIT

    def __init__(self, model: ChatModel, template: PromptTemplate | None = None) -> None:
        self._model = model
        self._template = template

    @property
    def model_id(self) -> str:
        return self._model.model_id

    def prompted(self, template: PromptTemplate) -> "ChatReader":
        """The same reader with another prompt."""
        return ChatReader(self._model, template)

    def read(
        self,
        question: str,
        passages: Sequence[Passage],
        sampling: SamplingSettings,
        *,
        refuse_below: float | None,
        cancelled: Callable[[], bool],
    ) -> Iterator[str | Draft]:
        """Yield the answer's text piece by piece, without marks, and the `Draft` last.

        refuse_below: of no effect where the decoder tells no probabilities. Raises InvalidInput with the
        field "question" when there is no room for a passage beside it, and what `ChatModel.chat` raises.
        """
        plan = self.plan(question, passages, sampling)
        template = plan.template
        reading = _Reading(RefusalWatch(template.not_found))
        events = self._model.chat(plan.prompt.messages, plan.sampling, plan.response)
        with closing(pull_events(events, cancelled)) as pulled:
            for event in pulled:
                reading.take(event)
                if reading.falls_below(refuse_below):
                    reading.refuse()
                    break
                yield from reading.tell()
        if reading.ended:
            yield from reading.rest()
            yield reading.draft(_report(template, plan.prompt), grounded=plan.response is not None)

    def plan(self, question: str, passages: Sequence[Passage], sampling: SamplingSettings) -> ReadingPlan:
        """What the decoder would be asked. Raises InvalidInput as `read` does."""
        template = self._template or default_prompt(question)
        limits = self._limits(sampling)
        context = self._model.context_tokens
        budget = context - limits.max_tokens - min(TEMPLATE_TOKENS, context // 16)
        prompt = build_chat_prompt(template, question, passages, budget, self._model.count_tokens)
        return ReadingPlan(template, prompt, limits, self._response(template, prompt))

    def _limits(self, sampling: SamplingSettings) -> SamplingSettings:
        """One answer, which leaves half of the context to the prompt."""
        longest = min(sampling.max_tokens, max(1, self._model.context_tokens // 2))
        return replace(sampling, max_tokens=longest, logprobs=TOP_LOGPROBS, n=1, beams=1)

    def _response(self, template: PromptTemplate, prompt: ChatPrompt) -> GroundedFormat | None:
        if template.decoding == "free" or not self._model.grounds:
            return None
        marked = [(passage.text, f"[{passage.number}]") for passage in prompt.passages]
        texts, marks = zip(*marked, (template.not_found, REFUSAL_MARK), strict=True)
        return GroundedFormat(texts, marks)


@dataclass(slots=True)
class _Reading:
    """What has been read so far. ended: no more will come."""

    watch: RefusalWatch
    marks: MarkReader = field(default_factory=MarkReader)
    held: str = ""
    decoded: int = 0
    usage: Usage | None = None
    finish: Literal["stop", "length", "refused"] | None = None

    @property
    def ended(self) -> bool:
        return self.finish is not None

    def take(self, event: ChatEvent) -> None:
        """Keep what came."""
        match event:
            case TextDelta():
                self.decoded += max(1, len(event.logprobs))
                self.watch.push(event)
                self.held += event.text
            case ChoiceDone():
                self.watch.finish()
                self.finish = "refused" if self.watch.refused else event.finish_reason
            case Usage():
                self.usage = event

    def tell(self) -> Iterator[str]:
        """Yield what may be told: nothing while it may still become a refusal, or has become one."""
        if not self.watch.pending and not self.watch.refused:
            told, self.held = self.marks.push(self.held), ""
            if told:
                yield told

    def falls_below(self, threshold: float | None) -> bool:
        """Whether the answer is less probable than it has to be, which is known before any of it is told."""
        probability = self.watch.answer_probability
        return threshold is not None and probability is not None and probability < threshold

    def refuse(self) -> None:
        """End without an answer."""
        self.finish = "refused"

    def rest(self) -> Iterator[str]:
        """Yield what was held back, unless it is a refusal."""
        if self.finish != "refused":
            yield from self.tell()
            if last := self.marks.flush():
                yield last

    def draft(self, report: PromptReport, *, grounded: bool) -> Draft:
        """The whole of it."""
        refused = self.finish == "refused"
        usage = self.usage or Usage(0, self.decoded)
        return Draft(
            text="" if refused else self.marks.text,
            marks=() if refused else tuple(self.marks.marks),
            grounded=grounded,
            answer_probability=self.watch.answer_probability,
            tokens=usage.completion_tokens,
            prompt_tokens=usage.prompt_tokens,
            finish_reason=self.finish or "stop",
            prompt=report,
        )


def _report(template: PromptTemplate, prompt: ChatPrompt) -> PromptReport:
    return PromptReport(
        template=template.name,
        passages=len(prompt.passages),
        examples=len(template.examples) - prompt.dropped_examples,
        dropped_passages=prompt.dropped_passages,
        dropped_examples=prompt.dropped_examples,
        cut=prompt.cut,
    )
