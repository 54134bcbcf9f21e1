"""The nouns of generation. Offsets are Unicode code points, half-open: `text[start:end]`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from generation.confidence import Signals
from generation.sampling import SamplingSettings


@dataclass(frozen=True, slots=True)
class Passage:
    """One numbered text that a reader may answer from. number: starts at 1; title: of its document."""

    number: int
    text: str
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader made of the passages.

    passage_number, start, end: where the answer stands, offsets into that passage's text; None, 0, 0 when
    refused. text: the answer, equal to `passage.text[start:end]`; empty when refused. answer_probability: 0
    to 1, the probability that the answer is right; told of a withheld answer as well. tokens, prompt_tokens:
    decoded and prefilled. signals: what answer_probability was weighed from, where the reader tells it.
    """

    passage_number: int | None
    start: int
    end: int
    text: str
    answer_probability: float
    tokens: int
    prompt_tokens: int
    finish_reason: Literal["stop", "length", "refused"]
    signals: Signals | None = None


@dataclass(frozen=True, slots=True)
class PromptReport:
    """The prompt that an answer was written to.

    template: its name. passages, examples: that the prompt shows; dropped_passages, dropped_examples: that
    found no room in the decoder's context; cut: whether the last passage lost its end.
    """

    template: str
    passages: int
    examples: int
    dropped_passages: int = 0
    dropped_examples: int = 0
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """What a reader wrote, to be checked sentence by sentence against the passages that it names.

    text: without marks; empty when refused. marks: for each mark the offset in `text` behind which it stood,
    and the number of the passage that it names, true or not. grounded: every stretch of text between marks
    was held to the passages. answer_probability: 1 - P(refusal); None where the decoder tells none.
    tokens, prompt_tokens: decoded and prefilled.
    """

    text: str
    marks: tuple[tuple[int, int], ...]
    grounded: bool
    answer_probability: float | None
    tokens: int
    prompt_tokens: int
    finish_reason: Literal["stop", "length", "refused"]
    prompt: PromptReport


class Reader(Protocol):
    """A decoder that answers a question from passages, or refuses.

    It gives a `Reading`, a contiguous span of one passage, or a `Draft`.

    passage_limit: how many passages one reading can take.
    """

    @property
    def model_id(self) -> str: ...

    @property
    def passage_limit(self) -> int: ...

    def read(
        self,
        question: str,
        passages: Sequence[Passage],
        sampling: SamplingSettings,
        *,
        refuse_below: float | None,
        cancelled: Callable[[], bool],
    ) -> Iterator[str | Reading | Draft]:
        """Yield the answer's text piece by piece, in the source's casing, and the `Reading` or `Draft` last.

        refuse_below: refuse when answer_probability is below this; None never refuses.
        cancelled: asked before each token; once it is true the iterator ends, with nothing last.
        Raises InvalidInput with the field "question", before anything else, when the question is too long to
        read.
        """
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """A span of a stored document version that an answer may cite.

    text: the version's text[start:end]. page: of a paged document, starts at 1.
    Raises ValueError when the text is not as long as the span, because every citation in it would be wrong.
    """

    document_id: str
    version: int
    start: int
    end: int
    text: str
    title: str | None = None
    page: int | None = None

    def __post_init__(self) -> None:
        if len(self.text) != self.end - self.start:
            raise ValueError(
                f"{self.document_id!r} version {self.version}: the span [{self.start}, {self.end}) holds "
                f"{self.end - self.start} code points, its text {len(self.text)}"
            )


@dataclass(frozen=True, slots=True)
class Citation:
    """A footnote: quote is the document version's text[start:end]. number: starts at 1, in the order of the
    answer.
    """

    number: int
    document_id: str
    version: int
    start: int
    end: int
    quote: str
    title: str | None = None
    page: int | None = None


@dataclass(frozen=True, slots=True)
class AnswerSentence:
    """One sentence and the numbers of the citations it stands on; supported exactly when there is one."""

    text: str
    citations: tuple[int, ...] = ()

    @property
    def supported(self) -> bool:
        return bool(self.citations)


class AnswerStatus(StrEnum):
    """What an answer is.

    answered: the reader's words; passages_only: sentences of the sources that share words with the question,
    because no reader was at hand or the question was out of its depth; not_found: the sources do not hold the
    answer.
    """

    ANSWERED = "answered"
    PASSAGES_ONLY = "passages_only"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of one question.

    text: the reader's answer; None unless answered. confidence: 0 to 1, the reader's probability that the
    sources hold the answer; None when no reader was asked. sentences: of the answer, or the highlights, best
    first. model: id of the reader that was asked; prompt_tokens, tokens: that it read and decoded, 0 where no
    reader was asked. finish_reason: length when max_tokens ended the text. prompt: of readers that have one.
    """

    status: AnswerStatus
    text: str | None = None
    confidence: float | None = None
    sentences: tuple[AnswerSentence, ...] = ()
    citations: tuple[Citation, ...] = ()
    model: str | None = None
    prompt_tokens: int = 0
    tokens: int = 0
    finish_reason: Literal["stop", "length"] = "stop"
    prompt: PromptReport | None = None


@dataclass(frozen=True, slots=True)
class MessageDelta:
    """The next piece of the answer as it is decoded; the `Answer` that follows is what holds."""

    text: str


@dataclass(frozen=True, slots=True)
class CitationFound:
    """A citation that has been checked against its source."""

    citation: Citation
