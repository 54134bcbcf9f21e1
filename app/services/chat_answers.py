"""Answers from a collection as one turn of a chat: honest text for every status, and where in it which
citation stands.
"""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from app.services.types import AnswerEvent, AnswerOutput, Hit, SearchOutput
from generation.causal.chat import ChatEvent, ChoiceDone, TextDelta, Usage
from generation.types import Answer, AnswerSentence, AnswerStatus, Citation, MessageDelta

# The page's own words.
CLOSEST = "No answer of its own: these are the sentences that come closest."
NOT_HERE = "Not in this collection."
NOTHING_NEAR = "Nothing here comes near the question."
NEAREST = "Nothing here answers the question. The nearest passages are in:"
# What a draft becomes that the finished answer does not keep.
WITHDRAWN = "\n\n(The text above does not hold.)\n\n"
_SHOWN_TITLES = 3


@dataclass(frozen=True, slots=True)
class CitedSpan:
    """The sentence `text[start:end]` of a turn stands on the citation."""

    start: int
    end: int
    citation: Citation


@dataclass(frozen=True, slots=True)
class CollectionTurn:
    """What a collection says, as text. offset: code points that were streamed before this text.

    spans: of the text, in its order; those of the stream begin `offset` later.
    """

    text: str
    spans: tuple[CitedSpan, ...]
    output: AnswerOutput
    offset: int = 0


CollectionEvent = ChatEvent | CollectionTurn


async def stream_turn(events: AsyncGenerator[AnswerEvent, None]) -> AsyncGenerator[CollectionEvent, None]:
    """Yield the text as it is decoded, then the `CollectionTurn`, the end of the one choice and the usage.

    The first event comes with the hits and is empty, so that a failure before it can still have a status.
    """
    told = ""
    async with aclosing(events):
        async for event in events:
            match event:
                case SearchOutput():
                    yield TextDelta(0, "")
                case MessageDelta():
                    told += event.text
                    yield TextDelta(0, event.text)
                case AnswerOutput():
                    for last in _ending(event, told):
                        yield last


def _ending(output: AnswerOutput, told: str) -> Iterable[CollectionEvent]:
    text, spans = word_answer(output)
    rest, offset = _continue(told, text)
    if rest:
        yield TextDelta(0, rest)
    yield CollectionTurn(text, spans, output, offset)
    yield ChoiceDone(0, output.answer.finish_reason)
    yield Usage(output.answer.prompt_tokens, output.answer.tokens)


def _continue(told: str, text: str) -> tuple[str, int]:
    """What to tell after what was told, so that the text stands there; and where it then begins.

    Space at the end of a draft is not a part of the text any more where a stop sequence came behind it.
    """
    firm = told.rstrip()
    if not firm:
        return text, len(told)
    if text.startswith(firm) and not text[len(firm) : len(told)].strip():
        return text[len(told) :], 0
    return WITHDRAWN + text, len(told) + len(WITHDRAWN)


def word_answer(output: AnswerOutput) -> tuple[str, tuple[CitedSpan, ...]]:
    """The text of a turn and the cited spans in it, offsets in code points."""
    answer = output.answer
    if answer.status is AnswerStatus.NOT_FOUND:
        return _nearest(output.search.hits), ()
    text = answer.text
    if text is None:
        text = "\n".join([CLOSEST, "", *(f"- {sentence.text}" for sentence in answer.sentences)])
    return text, tuple(_cited_spans(text, answer))


def _nearest(hits: Iterable[Hit]) -> str:
    titles = list(dict.fromkeys(hit.title or hit.document_id for hit in hits))[:_SHOWN_TITLES]
    if not titles:
        return f"{NOT_HERE} {NOTHING_NEAR}"
    return "\n".join([f"{NOT_HERE} {NEAREST}", "", *(f"- {title}" for title in titles)])


def _cited_spans(text: str, answer: Answer) -> Iterable[CitedSpan]:
    """The sentences stand in the text in their order, with other text only between them."""
    at = len(CLOSEST) if answer.status is AnswerStatus.PASSAGES_ONLY else 0
    for sentence in answer.sentences:
        start = text.index(sentence.text, at)
        at = start + len(sentence.text)
        for citation in _citations_of(sentence, answer):
            yield CitedSpan(start, at, citation)


def _citations_of(sentence: AnswerSentence, answer: Answer) -> Iterable[Citation]:
    return (citation for citation in answer.citations if citation.number in sentence.citations)
