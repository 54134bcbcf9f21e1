"""A decoder that chats without a model: it says what a test wrote, and keeps what it was asked."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from generation.causal.chat import (
    ChatEvent,
    ChatMessage,
    ChoiceDone,
    ResponseFormat,
    TextDelta,
    TokenLogprob,
    Usage,
)
from generation.sampling import SamplingSettings


class ScriptedChatModel:
    """Writes the same words for each choice, one event a word; its tokens are characters.

    fails: raised after `fails_after` words. may_continue: clear it to stop the decoder behind its first word.
    cancelled: set once a generator was closed before its end.
    """

    model_id = "scripted@1"
    context_tokens = 100
    grounds = False

    def __init__(self, *words: str) -> None:
        self.words = words or ("Plant", " помидоры", " 在五月", ".")
        self.conversations: list[list[ChatMessage]] = []
        self.prompts: list[str] = []
        self.settings: list[SamplingSettings] = []
        self.formats: list[ResponseFormat | None] = []
        self.fails: Exception | None = None
        self.fails_after = 0
        self.started = asyncio.Event()
        self.may_continue = asyncio.Event()
        self.may_continue.set()
        self.cancelled = asyncio.Event()

    @property
    def text(self) -> str:
        return "".join(self.words)

    def count_tokens(self, text: str) -> int:
        return len(text)

    def chat(
        self,
        messages: Sequence[ChatMessage],
        sampling: SamplingSettings,
        response: ResponseFormat | None = None,
    ) -> AsyncGenerator[ChatEvent, None]:
        self.conversations.append(list(messages))
        return self._events(sum(len(message.content) for message in messages), sampling, response)

    def complete(
        self, prompt: str, sampling: SamplingSettings, response: ResponseFormat | None = None
    ) -> AsyncGenerator[ChatEvent, None]:
        self.prompts.append(prompt)
        return self._events(len(prompt), sampling, response)

    async def _events(
        self, prompt_tokens: int, sampling: SamplingSettings, response: ResponseFormat | None
    ) -> AsyncGenerator[ChatEvent, None]:
        self.settings.append(sampling)
        self.formats.append(response)
        words = self.words[: sampling.max_tokens]
        ended = False
        try:
            for place, word in enumerate(words):
                if self.fails is not None and place == self.fails_after:
                    ended = True
                    raise self.fails
                for choice in range(sampling.n):
                    yield TextDelta(choice, word, _logprobs(word, sampling.logprobs))
                self.started.set()
                await self.may_continue.wait()
            for choice in range(sampling.n):
                yield ChoiceDone(choice, "stop" if len(words) == len(self.words) else "length")
            ended = True
            yield Usage(prompt_tokens, len(words) * sampling.n, cached_tokens=1)
        finally:
            if not ended:
                self.cancelled.set()


def _logprobs(word: str, alternatives: int | None) -> tuple[TokenLogprob, ...]:
    if alternatives is None:
        return ()
    top = tuple(TokenLogprob(f"{word}{rank}", -1.0 - rank, b"?") for rank in range(alternatives))
    return (TokenLogprob(word, -0.5, word.encode(), top),)
