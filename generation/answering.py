"""From retrieved sources to an answer with footnotes: read, split into sentences, cite, check."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from embeddings.errors import InvalidInput
from generation.causal.chat_reader import ChatReader
from generation.causal.prompt_template import PromptTemplate
from generation.citations import CitationList, align, cite
from generation.drafts import answer_from_draft
from generation.highlights import find_highlights
from generation.prompt import AnswerStyle
from generation.reader import GroundedReader
from generation.sampling import SamplingSettings
from generation.scripts import mostly_latin
from generation.sentences import Span, split_sentences
from generation.types import (
    Answer,
    AnswerSentence,
    AnswerStatus,
    Citation,
    CitationFound,
    Draft,
    MessageDelta,
    Passage,
    Reader,
    Reading,
    Source,
)

AnswerEvent = MessageDelta | CitationFound | Answer

MAX_HIGHLIGHTS = 3
NEVER_REFUSE = 0.0
# About 350 tokens of English; the bundled decoder reads some 380 of a passage beside a long question.
MAX_PASSAGE_CHARS = 1400


@dataclass(frozen=True, slots=True)
class Depth:
    """What a reader can read. latin_only: questions and passages in Latin script; max_passage_chars: longer
    passages come in parts; None: they come whole.
    """

    latin_only: bool
    max_passage_chars: int | None


# The bundled decoder is trained on English and knows little beyond it.
BUNDLED_DEPTH = Depth(latin_only=True, max_passage_chars=MAX_PASSAGE_CHARS)
CHAT_DEPTH = Depth(latin_only=False, max_passage_chars=None)


class Answerer:
    """Answers questions from sources. Not safe for two threads at once when its reader is not.

    reader: None where no decoder is installed; every answer is then passages_only or not_found.
    refuse_below: probability below which a reading is withheld, unless a request brings its own;
    NEVER_REFUSE: never. depth: of the reader.
    """

    def __init__(self, reader: Reader | None, *, refuse_below: float, depth: Depth = BUNDLED_DEPTH) -> None:
        self.reader = reader
        self.refuse_below = refuse_below
        self.depth = depth

    def never_refusing(self) -> "Answerer":
        """The same, with every answer told however improbable."""
        return Answerer(self.reader, refuse_below=NEVER_REFUSE, depth=self.depth)

    def prompted(self, template: PromptTemplate | None) -> "Answerer":
        """The same with another prompt; itself for None, and where the reader takes no prompts."""
        if template is None or not isinstance(self.reader, ChatReader):
            return self
        reader = self.reader.prompted(template)
        return Answerer(reader, refuse_below=self.refuse_below, depth=self.depth)

    def styled(self, style: AnswerStyle | None) -> "Answerer":
        """The same with spans or whole sentences for all questions; itself for None, and where the reader
        words its answers freely.
        """
        if style is None or not isinstance(self.reader, GroundedReader):
            return self
        return Answerer(self.reader.styled(style), refuse_below=self.refuse_below, depth=self.depth)

    def readable(self, question: str, sources: Sequence[Source]) -> list[Source]:
        """What the reader would be given of these sources: in parts that it can read, as many as it takes.
        Empty where the question or all sources are out of its depth, or there is no reader.
        """
        if self.reader is None:
            return []
        return _readable(question, sources, self.depth)[: self.reader.passage_limit]

    def answer(
        self,
        question: str,
        sources: Sequence[Source],
        sampling: SamplingSettings,
        *,
        refuse_below: float | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[AnswerEvent]:
        """Yield the pieces of the answer as they are decoded, then its citations, and the `Answer` last.

        sources: best first. refuse_below: for this request; None is the answerer's own.
        cancelled: asked before each token; once it is true the iterator ends, without an `Answer`.
        """
        chosen = self.readable(question, sources)
        if self.reader is None or not chosen:
            yield from _finish(_highlight(question, sources))
            return
        threshold = self.refuse_below if refuse_below is None else refuse_below
        passages = [
            Passage(number, source.text, source.title) for number, source in enumerate(chosen, start=1)
        ]
        steps = self.reader.read(
            question, passages, sampling, refuse_below=threshold or None, cancelled=cancelled
        )
        try:
            for step in steps:
                if isinstance(step, Reading):
                    yield from _finish(_answer_from(step, chosen, self.reader.model_id))
                elif isinstance(step, Draft):
                    yield from _finish(answer_from_draft(step, chosen, self.reader.model_id))
                elif step:
                    yield MessageDelta(step)
        except InvalidInput as error:
            if error.field != "question":
                raise
            yield from _finish(_highlight(question, sources))  # too long for the reader


def _readable(question: str, sources: Sequence[Source], depth: Depth) -> list[Source]:
    """The sources within the reader's depth, long ones in parts."""
    if depth.latin_only and not mostly_latin(question):
        return []
    longest = depth.max_passage_chars
    parts = sources if longest is None else [part for each in sources for part in _split_long(each, longest)]
    readable = (part for part in parts if not depth.latin_only or mostly_latin(part.text))
    return [part for part in readable if any(map(str.isalnum, part.text))]


def _split_long(source: Source, longest: int) -> list[Source]:
    """The source in parts of whole sentences, because a reader cuts off what it has no room for."""
    if len(source.text) <= longest:
        return [source]
    spans: list[Span] = []
    for sentence_start, sentence_end in split_sentences(source.text):
        for start in range(sentence_start, sentence_end, longest):
            end = min(start + longest, sentence_end)
            if spans and end - spans[-1][0] <= longest:
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((start, end))
    return [
        replace(source, start=source.start + start, end=source.start + end, text=source.text[start:end])
        for start, end in spans
    ]


def _finish(answer: Answer) -> Iterator[CitationFound | Answer]:
    yield from map(CitationFound, answer.citations)
    yield answer


def _highlight(question: str, sources: Sequence[Source]) -> Answer:
    """The sources' own sentences instead of an answer; nothing is worded anew."""
    citations = CitationList()
    sentences = []
    for index, (start, end) in find_highlights(question, sources, MAX_HIGHLIGHTS):
        quote = sources[index].text[start:end]
        sentences.append(_cited_sentence(quote, cite(sources[index], start, end, quote), citations))
    status = AnswerStatus.PASSAGES_ONLY if sentences else AnswerStatus.NOT_FOUND
    return Answer(status, sentences=tuple(sentences), citations=tuple(citations.citations))


def _answer_from(reading: Reading, sources: Sequence[Source], model: str) -> Answer:
    if reading.finish_reason == "refused" or not reading.text.strip():
        return Answer(
            AnswerStatus.NOT_FOUND,
            confidence=reading.answer_probability,
            model=model,
            prompt_tokens=reading.prompt_tokens,
            tokens=reading.tokens,
        )
    citations = CitationList()
    sentences = tuple(
        _cited_sentence(reading.text[start:end], _find_citation(reading, (start, end), sources), citations)
        for start, end in split_sentences(reading.text)
    )
    return Answer(
        AnswerStatus.ANSWERED,
        text=reading.text,
        confidence=reading.answer_probability,
        sentences=sentences,
        citations=tuple(citations.citations),
        model=model,
        prompt_tokens=reading.prompt_tokens,
        tokens=reading.tokens,
        finish_reason="length" if reading.finish_reason == "length" else "stop",
    )


def _find_citation(reading: Reading, sentence: Span, sources: Sequence[Source]) -> Citation | None:
    """Where the reader says that the sentence stands; failing that, where its words stand in any source."""
    start, end = sentence
    text = reading.text[start:end]
    if reading.passage_number is not None and 1 <= reading.passage_number <= len(sources):
        source = sources[reading.passage_number - 1]
        claimed = cite(source, reading.start + start, reading.start + end, text)
        if claimed is not None:
            return claimed
    return align(text, sources)


def _cited_sentence(text: str, citation: Citation | None, citations: CitationList) -> AnswerSentence:
    return AnswerSentence(text, () if citation is None else (citations.add(citation),))
