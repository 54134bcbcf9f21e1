"""OpenAI's requests and replies for text completions.

Source: platform.openai.com/docs/api-reference/completions.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from app.http.embedding_input import TextInput
from app.http.openai_chat_sampling import SamplingFields
from app.http.openai_chat_schemas import Created, FinishReason, Logprob, ModelName, UsageReply


class CompletionRequest(SamplingFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Texts to continue. No chat template is put around them."""

    prompt: Annotated[
        TextInput,
        Meta(description="A text, or up to 32 texts; token ids are refused", examples=["Tomatoes like"]),
    ]
    model: Annotated[str, Meta(description="Id of the decoder as `/v1/models` tells it")]
    max_tokens: Annotated[
        int | None, Meta(description="Longest choice, in the decoder's tokens; 16 unless given")
    ] = None
    logprobs: Annotated[
        int | None,
        Meta(description="0 to 20: tell how probable each token was, and so many of the most probable"),
    ] = None
    echo: Annotated[bool | None, Meta(description="Refused when true")] = None
    suffix: Annotated[str | None, Meta(description="Refused unless empty")] = None


class CompletionLogprobs(Struct, frozen=True):
    """The tokens of a choice, in order."""

    tokens: list[str]
    token_logprobs: list[Logprob]
    top_logprobs: Annotated[
        list[dict[str, float]], Meta(description="The most probable tokens at each place, as text")
    ]
    text_offset: Annotated[
        list[int], Meta(description="Code points of the choice before each token, as far as tokens are text")
    ]


class CompletionChoice(Struct, frozen=True):
    """One of the choices: those of the first prompt, then those of the second."""

    text: str
    index: int
    logprobs: CompletionLogprobs | None = None
    finish_reason: FinishReason | None = None


class CompletionReply(Struct, frozen=True, kw_only=True):
    """A completion, or a chunk of one."""

    id: Annotated[str, Meta(examples=["cmpl-4f0f8a2b"])]
    object: Literal["text_completion"] = "text_completion"
    created: Created
    model: ModelName
    choices: list[CompletionChoice]
    usage: UsageReply | UnsetType | None = UNSET
