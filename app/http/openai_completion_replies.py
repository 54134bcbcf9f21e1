"""Events of text completions in OpenAI's words: one reply, or chunks."""

from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from app.http.openai_chat_replies import Gathered, ReplyHead, finite, usage_reply
from app.http.openai_chat_schemas import UsageReply
from app.http.openai_completion_schemas import CompletionChoice, CompletionLogprobs, CompletionReply
from app.services.chat_answers import CollectionEvent
from generation.causal.chat import ChoiceDone, TextDelta, TokenLogprob, Usage


def completion_reply(gathered: Gathered, head: ReplyHead, logprobs: bool) -> CompletionReply:
    """The reply to a request that does not stream."""
    choices = [
        CompletionChoice(
            choice.text, number, _logprobs(choice.tokens, 0) if logprobs else None, choice.finish_reason
        )
        for number, choice in enumerate(gathered.choices)
    ]
    return _reply(head, choices, usage_reply(gathered.usage))


class CompletionChunks:
    """Turns events into chunks. include_usage: end with the usage; every other chunk then says null."""

    def __init__(self, head: ReplyHead, include_usage: bool) -> None:
        self._head = head
        self._include_usage = include_usage
        self._offsets: dict[int, int] = {}

    def of(self, event: CollectionEvent) -> list[CompletionReply]:
        """The chunks of one event; none for a token that completes no text."""
        match event:
            case TextDelta() if event.text or event.logprobs:
                return [self._chunk(CompletionChoice(event.text, event.choice, self._logprobs(event)))]
            case ChoiceDone():
                return [self._chunk(CompletionChoice("", event.choice, finish_reason=event.finish_reason))]
            case Usage() if self._include_usage:
                return [_reply(self._head, [], usage_reply(event))]
            case _:
                return []

    def _logprobs(self, delta: TextDelta) -> CompletionLogprobs | None:
        if not delta.logprobs:
            return None
        offset = self._offsets.get(delta.choice, 0)
        self._offsets[delta.choice] = offset + sum(len(token.text) for token in delta.logprobs)
        return _logprobs(delta.logprobs, offset)

    def _chunk(self, choice: CompletionChoice) -> CompletionReply:
        return _reply(self._head, [choice], None if self._include_usage else UNSET)


def _reply(
    head: ReplyHead, choices: list[CompletionChoice], usage: UsageReply | UnsetType | None
) -> CompletionReply:
    return CompletionReply(
        id=f"cmpl-{head.id}", created=head.created, model=head.model, choices=choices, usage=usage
    )


def _logprobs(tokens: Sequence[TokenLogprob], offset: int) -> CompletionLogprobs:
    """offset: code points of the choice before the first of the tokens."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return CompletionLogprobs(
        tokens=[token.text for token in tokens],
        token_logprobs=[finite(token.logprob) for token in tokens],
        top_logprobs=[{top.text: finite(top.logprob) for top in token.top} for token in tokens],
        text_offset=offsets,
    )
