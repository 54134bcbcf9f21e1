"""Requests and replies for answers."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from app.http.search_schemas import DocumentId, End, Filter, HitReply, SearchReply, Start, Version
from app.services.types import AnswerEvent, AnswerInput, AnswerOutput, SearchOutput
from generation.causal.chat import ChatMessage
from generation.sampling import ANSWER_TOKENS, SamplingSettings
from generation.types import AnswerStatus, Citation, CitationFound, MessageDelta, PromptReport
from retrieval.types import SearchMode


class HistoryTurn(Struct, frozen=True, forbid_unknown_fields=True):
    """What was said before the question."""

    role: Literal["user", "assistant"]
    content: Annotated[str, Meta(description="The question, or the answer", examples=["When are peas sown?"])]


class AnswerRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A question to a collection. Greedy by default; sampling with the same seed gives the same answer."""

    question: Annotated[str, Meta(description="The question", examples=["When do I plant tomatoes?"])]
    passages: Annotated[int, Meta(description="How many of the best passages to answer from")] = 5
    filter: Filter = None
    mode: Annotated[SearchMode, Meta(description="How the passages are found")] = SearchMode.HYBRID
    temperature: Annotated[float, Meta(description="0 is greedy; at most 2")] = 0.0
    top_k: Annotated[int, Meta(description="Sample among the k most probable tokens; 0 is off")] = 0
    top_p: Annotated[float, Meta(description="Sample among tokens of this total probability; 1 is off")] = 1.0
    seed: Annotated[int | None, Meta(description="Seed of this request's own random generator")] = None
    max_tokens: Annotated[int, Meta(description="Longest answer, in the decoder's tokens")] = ANSWER_TOKENS
    stop: Annotated[list[str] | None, Meta(description="Texts that end the answer")] = None
    explain: Annotated[bool, Meta(description="Give every score and rank that led to a hit")] = False
    rerank: Annotated[
        bool, Meta(description="Choose the passages with the reranker that the operator installed")
    ] = False
    history: Annotated[
        list[HistoryTurn] | None,
        Meta(description="What was said before, the oldest first: needs a decoder that chats"),
    ] = None
    conversation_id: Annotated[
        int | None, Meta(description="A kept conversation that this question goes on with")
    ] = None

    def to_input(self) -> AnswerInput:
        """The same for the service. Raises InvalidInput for a sampling value out of range."""
        sampling = SamplingSettings(
            self.temperature, self.top_k, self.top_p, self.seed, self.max_tokens, tuple(self.stop or ())
        )
        history = tuple(ChatMessage(turn.role, turn.content) for turn in self.history or ())
        wanted = (self.question, self.passages, self.filter, self.mode, sampling, self.rerank)
        return AnswerInput(*wanted, history)


class SentenceReply(Struct, frozen=True):
    """One sentence, and the numbers of the citations it stands on; supported is false when there is none."""

    text: str
    supported: bool
    citations: list[int]


class CitationReply(Struct, frozen=True):
    """A footnote: `quote` is the document version's text[start:end], checked by the server."""

    number: Annotated[int, Meta(description="Starts at 1, in the order of the answer")]
    document_id: DocumentId
    version: Version
    start: Start
    end: End
    quote: str
    title: str | None
    page: Annotated[int | None, Meta(description="Page of a paged source; starts at 1")]

    @classmethod
    def of(cls, citation: Citation) -> "CitationReply":
        """The reply for one citation."""
        return msgspec.convert(citation, cls, from_attributes=True)


class PromptReply(Struct, frozen=True):
    """The prompt that a chat decoder answered to, and what of it found no room in the decoder's context."""

    template: Annotated[str, Meta(description="Name of the collection's prompt", examples=["cited-en"])]
    passages: Annotated[int, Meta(description="Passages that it shows")]
    examples: Annotated[int, Meta(description="Few-shot examples that it shows")]
    dropped_passages: int
    dropped_examples: int
    cut: Annotated[bool, Meta(description="The last passage lost its end")]

    @classmethod
    def of(cls, report: PromptReport) -> "PromptReply":
        """The reply for one prompt."""
        return msgspec.convert(report, cls, from_attributes=True)


class AnswerReply(Struct, frozen=True):
    """What the collection says.

    status: answered; passages_only (no decoder, or the text is out of its depth: `sentences` are the best
    sentences of the sources); not_found (the collection does not hold it: `hits` are the nearest passages).
    """

    status: AnswerStatus
    answer: Annotated[str | None, Meta(description="The answer; null unless the status is answered")]
    confidence: Annotated[float | None, Meta(description="0 to 1: how probably the passages hold the answer")]
    sentences: list[SentenceReply]
    citations: list[CitationReply]
    hits: list[HitReply]
    model: Annotated[str | None, Meta(description="The decoder that was asked")]
    prompt: Annotated[PromptReply | None, Meta(description="Of decoders that chat; null for others")]
    took_ms: float
    release: Annotated[int, Meta(description="Number of the collection's release that was searched")]
    question_truncated: Annotated[
        bool,
        Meta(description="The question is too long for the encoder: dense search saw only its beginning"),
    ]
    question_used: Annotated[
        str, Meta(description="What was searched: the question, or a follow-up as the decoder rewrote it")
    ]
    conversation_id: Annotated[
        int | None, Meta(description="Of the conversation that keeps this turn; null where none is kept")
    ]

    @classmethod
    def of(cls, output: AnswerOutput, explain: bool) -> "AnswerReply":
        """The reply for the service's answer."""
        answer = output.answer
        return cls(
            status=answer.status,
            answer=answer.text,
            confidence=answer.confidence,
            sentences=[SentenceReply(s.text, s.supported, list(s.citations)) for s in answer.sentences],
            citations=[CitationReply.of(citation) for citation in answer.citations],
            hits=[HitReply.of(hit, explain) for hit in output.search.hits],
            model=answer.model,
            prompt=None if answer.prompt is None else PromptReply.of(answer.prompt),
            took_ms=output.took_ms,
            release=output.search.release,
            question_truncated=output.search.query_truncated,
            question_used=output.search.query,
            conversation_id=output.conversation_id,
        )


class Delta(Struct, frozen=True):
    """The next piece of the answer as it is decoded."""

    delta: str


def event_name_and_data(event: AnswerEvent, explain: bool) -> tuple[str, Any]:
    """The name and the payload of a server-sent event."""
    match event:
        case SearchOutput():
            return "search_results", SearchReply.of(event, explain)
        case MessageDelta():
            return "message", Delta(event.text)
        case CitationFound():
            return "citation", CitationReply.of(event.citation)
        case AnswerOutput():
            return "final_answer", AnswerReply.of(event, explain)
