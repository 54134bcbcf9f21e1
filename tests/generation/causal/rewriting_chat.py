"""A chat model for tests that rewrites follow-up questions, and answers all other prompts."""

from collections.abc import AsyncGenerator, Sequence

from generation.causal.chat import ChatEvent, ChatMessage, ResponseFormat
from generation.causal.rewriting import rewrite_prompt
from generation.sampling import SamplingSettings
from tests.generation.causal.scripted_chat import ScriptedChat

_INSTRUCTIONS = {rewrite_prompt(language).system for language in ("en", "ru", "zh")}


class RewritingChat(ScriptedChat):
    """Writes `standalone` where it is told to rewrite, `answer` elsewhere. shown: what it was to rewrite."""

    def __init__(self, standalone: str, answer: str) -> None:
        super().__init__(answer)
        self.standalone, self.answer = standalone, answer
        self.shown: list[str] = []

    async def chat(
        self,
        messages: Sequence[ChatMessage],
        sampling: SamplingSettings,
        response: ResponseFormat | None = None,
    ) -> AsyncGenerator[ChatEvent, None]:
        rewriting = messages[0].content in _INSTRUCTIONS
        self.text = self.standalone if rewriting else self.answer
        if rewriting:
            self.shown.append(messages[-1].content)
        async for event in super().chat(messages, sampling, response):
            yield event
