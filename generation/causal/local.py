"""The local engine as a chat model: conversations and texts to prompts, and its tokens to events."""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from tokenizers import Tokenizer

from generation.causal.chat import (
    ChatEvent,
    ChatMessage,
    ChoiceDone,
    ChoiceFormat,
    GroundedFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
    TextDelta,
    TokenLogprob,
    Usage,
)
from generation.causal.chat_template import ChatTemplate
from generation.causal.constraints import Constraint, ConstraintCompiler
from generation.causal.requests import (
    ChoiceFinished,
    Finished,
    Generation,
    GenerationEvent,
    GenerationRequest,
    TokenEvent,
)
from generation.causal.spec import CausalSpec
from generation.causal.token_bytes import token_bytes
from generation.sampling import MAX_STOP_SEQUENCES, SamplingSettings


class Engine(Protocol):
    """What a chat model needs of the engine."""

    @property
    def model_id(self) -> str: ...
    @property
    def context_tokens(self) -> int: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def spec(self) -> CausalSpec: ...

    def submit(self, request: GenerationRequest) -> Generation: ...


class LocalChatModel:
    """Chats with the engine. Safe for several event loops and threads.

    Special tokens in messages are broken up, so that no document can end its turn and speak as the system.
    """

    grounds = True

    def __init__(self, engine: Engine, compiler: ConstraintCompiler, template: ChatTemplate) -> None:
        self._engine = engine
        self._compiler = compiler
        self._template = template
        self._bytes = token_bytes(engine.tokenizer)
        self._special = _special_tokens(engine.tokenizer)

    @property
    def model_id(self) -> str:
        return self._engine.model_id

    @property
    def context_tokens(self) -> int:
        return self._engine.context_tokens

    def count_tokens(self, text: str) -> int:
        """Tokens of the text, special ones that a prompt begins with not counted."""
        return len(self._engine.tokenizer.encode(text, add_special_tokens=False).ids)

    async def chat(
        self,
        messages: Sequence[ChatMessage],
        sampling: SamplingSettings,
        response: ResponseFormat | None = None,
    ) -> AsyncGenerator[ChatEvent, None]:
        """Answer the last message. Raises as `ChatModel` says."""
        request = await asyncio.to_thread(self._chat_request, messages, sampling, response)
        async for event in self._events(request):
            yield event

    async def complete(
        self, prompt: str, sampling: SamplingSettings, response: ResponseFormat | None = None
    ) -> AsyncGenerator[ChatEvent, None]:
        """Continue the text. Raises as `ChatModel` says."""
        request = await asyncio.to_thread(self._request, prompt, sampling, response, begin=True)
        async for event in self._events(request):
            yield event

    def _chat_request(
        self, messages: Sequence[ChatMessage], sampling: SamplingSettings, response: ResponseFormat | None
    ) -> GenerationRequest:
        broken_up = [ChatMessage(each.role, self._break_up(each.content)) for each in messages]
        text = self._template.render(broken_up)
        stop = (*self._template.stop, *sampling.stop)[-MAX_STOP_SEQUENCES:]
        # A template writes the token that begins a text itself.
        return self._request(text, replace(sampling, stop=stop), response, begin=self._template.is_plain)

    def _request(
        self, text: str, sampling: SamplingSettings, response: ResponseFormat | None, *, begin: bool
    ) -> GenerationRequest:
        ids = self._engine.tokenizer.encode(text, add_special_tokens=begin).ids
        bos = self._engine.spec.bos
        prompt = tuple(ids) if ids or bos is None else (bos,)
        return GenerationRequest(prompt, sampling, self._constraint(response))

    def _constraint(self, response: ResponseFormat | None) -> Constraint | None:
        match response:
            case None:
                return None
            case JsonObjectFormat():
                return self._compiler.json_object()
            case JsonSchemaFormat(schema):
                return self._compiler.json_schema(dict(schema))
            case RegexFormat(pattern):
                return self._compiler.regex(pattern)
            case ChoiceFormat(choices):
                return self._compiler.choice(choices)
            case GroundedFormat(passages, marks):
                return self._compiler.grounded(passages, marks)

    def _break_up(self, text: str) -> str:
        """The text with a blank behind the first character of each special token in it."""
        if self._special is None:
            return text
        return self._special.sub(lambda token: f"{token[0][0]} {token[0][1:]}", text)

    async def _events(self, request: GenerationRequest) -> AsyncGenerator[ChatEvent, None]:
        told = _Telling(self._bytes, with_logprobs=request.sampling.logprobs is not None)
        generation = self._engine.submit(request)
        try:
            async for event in generation:
                for each in told.read(event):
                    yield each
        finally:
            generation.cancel()


class _Telling:
    """The engine's events in the words of a chat model."""

    def __init__(self, data_of: Callable[[int], bytes], *, with_logprobs: bool) -> None:
        self._data_of = data_of
        self._with_logprobs = with_logprobs
        self._told: defaultdict[int, int] = defaultdict(int)  # characters of each choice

    def read(self, event: GenerationEvent) -> Iterator[ChatEvent]:
        match event:
            case TokenEvent():
                self._told[event.choice] += len(event.text)
                logprobs = (self._logprob(event),) if self._with_logprobs else ()
                if event.text or logprobs:
                    yield TextDelta(event.choice, event.text, logprobs)
            case ChoiceFinished():
                # What was held back to the end; of beams, which tell no tokens, all of it.
                if rest := event.text[self._told[event.choice] :]:
                    yield TextDelta(event.choice, rest)
                yield ChoiceDone(event.choice, event.finish_reason)
            case Finished():
                yield Usage(event.prompt_tokens, event.completion_tokens, event.cached_tokens)

    def _logprob(self, event: TokenEvent) -> TokenLogprob:
        top = tuple(self._token(token_id, logprob) for token_id, logprob in event.top)
        return replace(self._token(event.token_id, event.logprob), top=top)

    def _token(self, token_id: int, logprob: float) -> TokenLogprob:
        data = self._data_of(token_id)
        return TokenLogprob(data.decode(errors="replace"), logprob, data)


def _special_tokens(tokenizer: Tokenizer) -> re.Pattern[str] | None:
    added = tokenizer.get_added_tokens_decoder().values()
    contents = sorted((token.content for token in added if token.special), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, contents))) if contents else None
