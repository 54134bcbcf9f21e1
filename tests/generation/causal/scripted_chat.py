"""A chat model for tests: it writes what it is told to, a word at a time."""

import math
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

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


class ScriptedChat:
    """Writes `text` whatever it is asked, at most max_tokens words of it; counts words as tokens.

    probability: of its first word; the rest of it goes to `instead`. None tells no probabilities.
    """

    model_id = "scripted@test"

    def __init__(
        self,
        text: str,
        *,
        probability: float | None = None,
        instead: str = "",
        grounds: bool = False,
        context_tokens: int = 1000,
        fails: Exception | None = None,
    ) -> None:
        self.text, self.grounds, self.context_tokens = text, grounds, context_tokens
        self._probability, self._instead, self._fails = probability, instead, fails
        self.asked: list[tuple[Sequence[ChatMessage], SamplingSettings, ResponseFormat | None]] = []
        self.closed = 0

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def chat(
        self,
        messages: Sequence[ChatMessage],
        sampling: SamplingSettings,
        response: ResponseFormat | None = None,
    ) -> AsyncGenerator[ChatEvent, None]:
        self.asked.append((messages, sampling, response))
        if self._fails is not None:
            raise self._fails
        words = re.findall(r"\S+\s*", self.text)
        try:
            for number, word in enumerate(words[: sampling.max_tokens]):
                yield TextDelta(0, word, self._logprobs(word) if number == 0 else self._sure(word))
            finish = "stop" if len(words) <= sampling.max_tokens else "length"
            yield ChoiceDone(0, finish)  # type: ignore[arg-type]
            yield Usage(sum(self.count_tokens(each.content) for each in messages), len(words))
        finally:
            self.closed += 1

    async def complete(
        self, prompt: str, sampling: SamplingSettings, response: ResponseFormat | None = None
    ) -> AsyncGenerator[ChatEvent, None]:
        async for event in self.chat([ChatMessage("user", prompt)], sampling, response):
            yield event

    def _logprobs(self, word: str) -> tuple[TokenLogprob, ...]:
        if self._probability is None:
            return ()
        chosen = _token(word, self._probability)
        other = _token(self._instead, 1 - self._probability)
        return (replace(chosen, top=(chosen, other)),)

    def _sure(self, word: str) -> tuple[TokenLogprob, ...]:
        return () if self._probability is None else (_token(word, 1.0),)


def _token(text: str, probability: float) -> TokenLogprob:
    return TokenLogprob(text, math.log(probability), text.encode())
