"""Chat: a conversation with the decoder, a text that it continues, or a question to a collection."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Protocol

from anyio import to_thread

from app.services.chat_answers import CollectionEvent, stream_turn
from app.services.chat_merging import merge
from app.services.types import AnswerEvent, AnswerInput
from app.telemetry.notes import note_tokens
from embeddings.errors import InvalidInput
from generation.causal.chat import ChatEvent, ChatMessage, ChatModel, ResponseFormat, Usage
from generation.causal.spec import GenerationDefaults
from generation.sampling import MAX_TOKENS_LIMIT, SamplingSettings

# No tokenizer makes fewer tokens than this of a real text; a longer one need not be tokenized to be refused.
MAX_CHARACTERS_A_TOKEN = 32
# What a chat template may put around a conversation, at a guess.
_TEMPLATE_TOKENS = 16


class ContextLengthExceeded(InvalidInput):
    """Named as OpenAI's clients know it."""

    code = "context_length_exceeded"


class NoChatModel(InvalidInput):
    code = "no_chat_model"


class Answers(Protocol):
    """What chat needs of the answer service."""

    def answer(self, collection: str, wanted: AnswerInput) -> AsyncGenerator[AnswerEvent, None]: ...


class ChatService:
    """Talks with one decoder.

    model: None where the decoder that is installed only copies answers. defaults: how its authors would
    sample from it.
    """

    def __init__(
        self, model: ChatModel | None, answers: Answers, defaults: GenerationDefaults | None = None
    ) -> None:
        self.model = model
        self.defaults = defaults or GenerationDefaults()
        self._answers = answers

    async def chat(
        self,
        messages: Sequence[ChatMessage],
        sampling: SamplingSettings,
        response: ResponseFormat | None = None,
        *,
        fill: bool = False,
    ) -> AsyncGenerator[ChatEvent, None]:
        """Answer the last message. Closing the generator stops the decoder at its next token.

        fill: take as many tokens as the context has room for in place of the settings' max_tokens.
        Raises, before the first event, what `ChatModel.chat` raises, NoChatModel, and ContextLengthExceeded.
        """
        model = self._installed()
        settings = await _fit(model, [message.content for message in messages], sampling, fill)
        async with aclosing(model.chat(messages, settings, response)) as events:
            with _in_openais_words():
                async for event in events:
                    if isinstance(event, Usage):
                        note_tokens(event.prompt_tokens, event.completion_tokens, event.cached_tokens)
                    yield event

    async def complete(
        self, prompts: Sequence[str], sampling: SamplingSettings, response: ResponseFormat | None = None
    ) -> AsyncGenerator[ChatEvent, None]:
        """Continue each prompt. The choices of prompt i are those from i * sampling.n on; one usage is the
        last event. Raises as `chat` does.
        """
        model = self._installed()
        for prompt in prompts:
            await _fit(model, [prompt], sampling, fill=False)
        usage = Usage(0, 0)
        streams = [model.complete(prompt, sampling, response) for prompt in prompts]
        async with aclosing(merge(streams)) as merged:
            with _in_openais_words():
                async for number, event in merged:
                    if isinstance(event, Usage):
                        usage = _sum(usage, event)
                    else:
                        yield replace(event, choice=number * sampling.n + event.choice)
        note_tokens(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
        yield usage

    def answer(self, collection: str, wanted: AnswerInput) -> AsyncGenerator[CollectionEvent, None]:
        """Answer from a collection. Raises, before the first event, what `AnswerService.answer` raises."""
        return stream_turn(self._answers.answer(collection, wanted))

    def _installed(self) -> ChatModel:
        if self.model is None:
            raise no_chat_model()
        return self.model


@contextmanager
def _in_openais_words() -> Iterator[None]:
    """Give a prompt that the decoder finds too long the code that clients look for."""
    try:
        yield
    except InvalidInput as error:
        if error.field != "prompt" or isinstance(error, ContextLengthExceeded):
            raise
        raise ContextLengthExceeded(
            error.message,
            field=error.field,
            found=error.found,
            expected=error.expected,
            next_step=error.next_step,
        ) from error


def no_chat_model() -> NoChatModel:
    """The refusal where the installed decoder only copies, with the ways out."""
    return NoChatModel(
        "the decoder that is installed here copies answers out of passages; it cannot chat",
        field="model",
        found="no decoder that chats",
        expected="footnote:COLLECTION, or a decoder that chats",
        next_step="name a collection, as the model footnote:COLLECTION or in the field collection; or "
        "convert a decoder with `footnote models convert --kind decoder` and set FOOTNOTE_DECODER, or set "
        "FOOTNOTE_DECODER_URL",
    )


async def _fit(
    model: ChatModel, texts: Sequence[str], sampling: SamplingSettings, fill: bool
) -> SamplingSettings:
    """The settings for a prompt of these texts; with `fill`, max_tokens is the room that they leave."""
    _check_length(model, sum(map(len, texts)), sampling)
    if not fill:
        return sampling
    prompt_tokens = await to_thread.run_sync(model.count_tokens, "\n".join(texts))
    room = model.context_tokens - prompt_tokens - _TEMPLATE_TOKENS * len(texts)
    return replace(sampling, max_tokens=max(1, min(room, MAX_TOKENS_LIMIT)))


def _check_length(model: ChatModel, characters: int, sampling: SamplingSettings) -> None:
    context = model.context_tokens
    if characters > context * MAX_CHARACTERS_A_TOKEN:
        raise ContextLengthExceeded(
            f"This model's maximum context length is {context} tokens, however the prompt has {characters} "
            "characters",
            field="prompt",
            found=f"{characters} characters",
            expected=f"at most {context} tokens, prompt and answer together",
            next_step="send a shorter prompt",
        )
    if sampling.max_tokens >= context:
        raise ContextLengthExceeded(
            f"This model's maximum context length is {context} tokens, prompt and answer together, however "
            f"max_tokens is {sampling.max_tokens}",
            field="max_tokens",
            found=str(sampling.max_tokens),
            expected=f"less than {context}",
            next_step="ask for fewer tokens",
        )


def _sum(first: Usage, second: Usage) -> Usage:
    return Usage(
        first.prompt_tokens + second.prompt_tokens,
        first.completion_tokens + second.completion_tokens,
        first.cached_tokens + second.cached_tokens,
    )
