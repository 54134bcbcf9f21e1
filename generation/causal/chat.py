"""What the service asks of a decoder that chats, wherever it runs: messages or a prompt in, events out."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from generation.sampling import SamplingSettings

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class JsonObjectFormat:
    """Any JSON object."""


@dataclass(frozen=True, slots=True)
class JsonSchemaFormat:
    """JSON that fits a schema. name: what the client calls it."""

    schema: Mapping[str, Any]
    name: str = "response"


@dataclass(frozen=True, slots=True)
class RegexFormat:
    """Text that the whole pattern matches."""

    pattern: str


@dataclass(frozen=True, slots=True)
class ChoiceFormat:
    """One of these texts."""

    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GroundedFormat:
    """Stretches of the passages, each with the mark of its passage behind it, and nothing else.

    marks: one for each passage. Only a local decoder can be held to it.
    """

    passages: tuple[str, ...]
    marks: tuple[str, ...]


# None, where one may stand: free text.
ResponseFormat = JsonObjectFormat | JsonSchemaFormat | RegexFormat | ChoiceFormat | GroundedFormat


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token and how likely it was. logprob: natural logarithm. data: the token's own bytes, which may be a
    part of a character. top: the most likely tokens at its place with theirs, best first; as many as were
    asked for.
    """

    text: str
    logprob: float
    data: bytes = b""
    top: tuple["TokenLogprob", ...] = ()


@dataclass(frozen=True, slots=True)
class TextDelta:
    """What became tellable of one choice; "" when a token completes no text yet. choice: starts at 0.

    logprobs: of the tokens that were decoded for it; empty unless the sampling settings ask for them.
    """

    choice: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class ChoiceDone:
    """The last of one choice. stop: the decoder ended it, or a stop sequence; length: max_tokens did."""

    choice: int
    finish_reason: Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Usage:
    """The last event. cached_tokens: of the prompt's, those that needed no prefill."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


ChatEvent = TextDelta | ChoiceDone | Usage


class ChatModel(Protocol):
    """A causal decoder: the local engine or a server elsewhere.

    Closing a generator of events cancels its decoding at the next token. What is wrong is raised by the first
    `anext`, before any event: InvalidInput (a field, a schema, a prompt longer than the context), Overloaded
    (the queue is full, the server does not answer), ModelDamaged (the chat template fails). Overloaded may
    come later too, when a server's stream breaks off.
    """

    @property
    def model_id(self) -> str: ...

    @property
    def context_tokens(self) -> int:
        """The longest prompt and answer together."""
        ...

    @property
    def grounds(self) -> bool:
        """Whether it can be held to a `GroundedFormat`."""
        ...

    def count_tokens(self, text: str) -> int:
        """How many tokens the text takes in a prompt; where the tokenizer is elsewhere, rather too many."""
        ...

    def chat(
        self,
        messages: Sequence[ChatMessage],
        sampling: SamplingSettings,
        response: ResponseFormat | None = None,
    ) -> AsyncGenerator[ChatEvent, None]:
        """Answer the last message. Events of several choices may come mixed; `Usage` is the last."""
        ...

    def complete(
        self, prompt: str, sampling: SamplingSettings, response: ResponseFormat | None = None
    ) -> AsyncGenerator[ChatEvent, None]:
        """Continue the text; no chat template is put around it."""
        ...
