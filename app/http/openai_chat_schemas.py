"""OpenAI's requests and replies for chat completions, with Footnote's extensions.

Source: platform.openai.com/docs/api-reference/chat.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from app.http.answer_schemas import AnswerReply, CitationReply
from app.http.openai_chat_sampling import SamplingFields, Unused
from app.http.search_schemas import Filter
from retrieval.types import SearchMode

FinishReason = Literal["stop", "length"]
ReplyId = Annotated[str, Meta(examples=["chatcmpl-4f0f8a2b"])]
Created = Annotated[int, Meta(description="Unix seconds")]
ModelName = Annotated[str, Meta(description="The decoder's full id, or `footnote:` and a collection")]
Logprob = Annotated[float, Meta(description="Natural logarithm of the model's own probability")]


class ContentPart(Struct, frozen=True):
    """A part of a message; only text is read."""

    type: str
    text: str | None = None


class Message(Struct, frozen=True):
    """One turn. Other fields of a turn that a client sends back are ignored."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[
        str | list[ContentPart] | None, Meta(description="A text, or a list of parts of the type `text`")
    ] = None
    tool_calls: Annotated[list[Any] | None, Meta(description="Refused: tools are not called here")] = None
    function_call: Annotated[
        dict[str, Any] | None, Meta(description="Refused: tools are not called here")
    ] = None


class ChatRequest(SamplingFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A conversation to continue, or a question to a collection."""

    messages: Annotated[list[Message], Meta(description="The conversation, oldest turn first; at most 1000")]
    model: Annotated[
        str,
        Meta(
            description="Id of the decoder as `/v1/models` tells it, or `footnote:` and the name of a "
            "collection to answer from",
            examples=["footnote:guide"],
        ),
    ]
    max_completion_tokens: Annotated[
        int | None,
        Meta(description="Longest choice, in the decoder's tokens; what the context has room for"),
    ] = None
    logprobs: Annotated[bool | None, Meta(description="Tell how probable each token was")] = None
    top_logprobs: Annotated[
        int | None, Meta(description="0 to 20: tell the most probable tokens at each place too")
    ] = None
    collection: Annotated[
        str | None, Meta(description="Extension: answer the last message from this collection")
    ] = None
    passages: Annotated[
        int | None, Meta(description="Extension: how many of the collection's best passages to answer from")
    ] = None
    filter: Annotated[Filter, Meta(description="Extension: search only the documents that it matches")] = None
    mode: Annotated[
        SearchMode | None, Meta(description="Extension: how the passages are found; hybrid unless given")
    ] = None
    rerank: Annotated[
        bool | None, Meta(description="Extension: choose the passages with the installed reranker")
    ] = None
    tools: Annotated[list[Any] | None, Meta(description="Refused unless empty")] = None
    tool_choice: Annotated[Any, Meta(description="`none` or `auto`")] = None
    functions: Annotated[list[Any] | None, Meta(description="Refused unless empty")] = None
    function_call: Annotated[Any, Meta(description="`none` or `auto`")] = None
    modalities: Annotated[list[str] | None, Meta(description="`text` alone")] = None
    audio: Annotated[Any, Meta(description="Refused")] = None
    web_search_options: Annotated[Any, Meta(description="Refused")] = None
    parallel_tool_calls: Annotated[bool | None, Unused] = None
    metadata: Annotated[Any, Unused] = None
    store: Annotated[bool | None, Unused] = None
    service_tier: Annotated[str | None, Unused] = None
    safety_identifier: Annotated[str | None, Unused] = None
    prompt_cache_key: Annotated[str | None, Unused] = None
    prompt_cache_retention: Annotated[str | None, Unused] = None
    prediction: Annotated[Any, Unused] = None
    reasoning_effort: Annotated[str | None, Unused] = None
    verbosity: Annotated[str | None, Unused] = None


class TopToken(Struct, frozen=True):
    """One of the most probable tokens at a place."""

    token: str
    logprob: Logprob
    bytes: Annotated[list[int], Meta(description="UTF-8; may be a part of a character")]


class TokenReply(Struct, frozen=True):
    """A token that was written."""

    token: str
    logprob: Logprob
    bytes: list[int]
    top_logprobs: list[TopToken]


class ChatLogprobs(Struct, frozen=True):
    """The tokens of a choice, in order."""

    content: list[TokenReply]
    refusal: None = None


class UrlCitation(Struct, frozen=True):
    """text[start_index:end_index] of the message, in code points, stands on what the address shows."""

    start_index: int
    end_index: int
    title: str
    url: Annotated[str, Meta(description="Opens the document at the quote, on Footnote's page")]


class Annotation(Struct, frozen=True):
    """A footnote. `footnote` is an extension: where the quote stands in the source."""

    url_citation: UrlCitation
    footnote: CitationReply
    type: Literal["url_citation"] = "url_citation"


class ChatReplyMessage(Struct, frozen=True, kw_only=True):
    """The decoder's turn."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    annotations: Annotated[
        list[Annotation] | UnsetType, Meta(description="The footnotes of an answer from a collection")
    ] = UNSET


class ChatChoice(Struct, frozen=True):
    """One of n."""

    index: int
    message: ChatReplyMessage
    finish_reason: FinishReason
    logprobs: ChatLogprobs | None = None


class PromptTokensDetails(Struct, frozen=True):
    """Of the prompt's tokens."""

    cached_tokens: Annotated[int, Meta(description="Those that needed no prefill")]


class UsageReply(Struct, frozen=True):
    """Tokens that the decoder read and wrote, those of all choices together."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class ChatReply(Struct, frozen=True, kw_only=True):
    """A chat completion."""

    id: ReplyId
    object: Literal["chat.completion"] = "chat.completion"
    created: Created
    model: ModelName
    choices: list[ChatChoice]
    usage: UsageReply
    footnote: Annotated[
        AnswerReply | UnsetType,
        Meta(description="Extension: what `/v1/collections/{name}/answer` would say, with its status"),
    ] = UNSET


class ChatDelta(Struct, frozen=True, omit_defaults=True):
    """What a chunk adds to a message."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    annotations: list[Annotation] | UnsetType = UNSET


class ChatChunkChoice(Struct, frozen=True):
    """What a chunk adds to one of n choices."""

    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None = None
    finish_reason: FinishReason | None = None


class ChatChunk(Struct, frozen=True, kw_only=True):
    """One event of a stream."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: UsageReply | UnsetType | None = UNSET
    footnote: AnswerReply | UnsetType = UNSET
