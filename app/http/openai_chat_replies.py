"""Chat events in OpenAI's words: one reply, or chunks."""

import time
import uuid
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field

from msgspec import UNSET
from msgspec.structs import replace

from app.http.answer_schemas import AnswerReply
from app.http.openai_chat_citations import annotations
from app.http.openai_chat_schemas import (
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatDelta,
    ChatLogprobs,
    ChatReply,
    ChatReplyMessage,
    FinishReason,
    PromptTokensDetails,
    TokenReply,
    TopToken,
    UsageReply,
)
from app.services.chat_answers import CollectionEvent, CollectionTurn
from generation.causal.chat import ChoiceDone, TextDelta, TokenLogprob, Usage


@dataclass(frozen=True, slots=True)
class ReplyHead:
    """What all chunks of a reply share.

    collection: that answers; None where the decoder does. page: address of Footnote's page.
    """

    model: str
    collection: str | None = None
    page: str = ""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))


@dataclass(slots=True)
class GatheredChoice:
    """A choice while its events arrive. tokens: empty unless log-probabilities were asked for."""

    pieces: list[str] = field(default_factory=list)
    tokens: list[TokenLogprob] = field(default_factory=list)
    finish_reason: FinishReason = "stop"

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Gathered:
    """All events of a reply. turn: of a collection."""

    choices: list[GatheredChoice]
    usage: Usage
    turn: CollectionTurn | None


async def gather(events: AsyncGenerator[CollectionEvent, None]) -> Gathered:
    """Wait for all events. The choices are in the order of their numbers."""
    choices: dict[int, GatheredChoice] = {}
    usage, turn = Usage(0, 0), None
    async with aclosing(events):
        async for event in events:
            match event:
                case TextDelta():
                    choice = choices.setdefault(event.choice, GatheredChoice())
                    choice.pieces.append(event.text)
                    choice.tokens.extend(event.logprobs)
                case ChoiceDone():
                    choices.setdefault(event.choice, GatheredChoice()).finish_reason = event.finish_reason
                case Usage():
                    usage = event
                case CollectionTurn():
                    turn = event
    return Gathered([choices[number] for number in sorted(choices)], usage, turn)


def chat_reply(gathered: Gathered, head: ReplyHead, logprobs: bool) -> ChatReply:
    """The reply to a request that does not stream."""
    turn = gathered.turn
    choices = [
        ChatChoice(
            number,
            _message(choice, turn, head),
            choice.finish_reason,
            _logprobs(choice.tokens) if logprobs else None,
        )
        for number, choice in enumerate(gathered.choices)
    ]
    return ChatReply(
        id=f"chatcmpl-{head.id}",
        created=head.created,
        model=head.model,
        choices=choices,
        usage=usage_reply(gathered.usage),
        footnote=UNSET if turn is None else AnswerReply.of(turn.output, explain=False),
    )


def _message(choice: GatheredChoice, turn: CollectionTurn | None, head: ReplyHead) -> ChatReplyMessage:
    if turn is None or head.collection is None:
        return ChatReplyMessage(content=choice.text)
    cited = annotations(turn.spans, head.collection, head.page, offset=0)
    return ChatReplyMessage(content=turn.text, annotations=cited)


def usage_reply(usage: Usage) -> UsageReply:
    """The usage in OpenAI's words."""
    return UsageReply(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.prompt_tokens + usage.completion_tokens,
        PromptTokensDetails(usage.cached_tokens),
    )


def finite(logprob: float) -> float:
    """OpenAI's own stand-in for the logarithm of 0, which JSON has no number for."""
    return max(logprob, -9999.0)


def _logprobs(tokens: Iterable[TokenLogprob]) -> ChatLogprobs:
    return ChatLogprobs(
        [
            TokenReply(
                token.text,
                finite(token.logprob),
                list(token.data),
                [TopToken(top.text, finite(top.logprob), list(top.data)) for top in token.top],
            )
            for token in tokens
        ]
    )


class ChatChunks:
    """Turns events into chunks. include_usage: end with the usage; every other chunk then says null."""

    def __init__(self, head: ReplyHead, include_usage: bool) -> None:
        self._head = head
        self._include_usage = include_usage
        self._opened: set[int] = set()

    def of(self, event: CollectionEvent) -> list[ChatChunk]:
        """The chunks of one event; none for a token that completes no text."""
        match event:
            case TextDelta():
                return self._of_text(event)
            case ChoiceDone():
                ending = ChatChunkChoice(event.choice, ChatDelta(), finish_reason=event.finish_reason)
                return [*self._opening(event.choice), self._chunk(ending)]
            case CollectionTurn():
                return [self._of_turn(event)]
            case Usage():
                return [self._chunk(usage=usage_reply(event))] if self._include_usage else []

    def _of_text(self, delta: TextDelta) -> list[ChatChunk]:
        opening = self._opening(delta.choice)
        if not delta.text and not delta.logprobs:
            return opening
        logprobs = _logprobs(delta.logprobs) if delta.logprobs else None
        choice = ChatChunkChoice(delta.choice, ChatDelta(content=delta.text), logprobs)
        return [*opening, self._chunk(choice)]

    def _of_turn(self, turn: CollectionTurn) -> ChatChunk:
        cited = annotations(turn.spans, self._head.collection or "", self._head.page, turn.offset)
        chunk = self._chunk(ChatChunkChoice(0, ChatDelta(annotations=cited)))
        return replace(chunk, footnote=AnswerReply.of(turn.output, explain=False))

    def _opening(self, choice: int) -> list[ChatChunk]:
        if choice in self._opened:
            return []
        self._opened.add(choice)
        return [self._chunk(ChatChunkChoice(choice, ChatDelta("assistant", "")))]

    def _chunk(self, *choices: ChatChunkChoice, usage: UsageReply | None = None) -> ChatChunk:
        return ChatChunk(
            id=f"chatcmpl-{self._head.id}",
            created=self._head.created,
            model=self._head.model,
            choices=list(choices),
            usage=usage if self._include_usage else UNSET,
        )
