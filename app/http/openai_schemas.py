"""OpenAI's requests and replies for embeddings and models, with Footnote's few extensions."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from app.http.embedding_input import TextInput

Keep = Literal["start", "end"]


class EmbeddingRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Texts to embed. `input_type` and `truncate` are extensions."""

    input: Annotated[
        TextInput,
        Meta(
            description="A text, or up to 2048 texts; token ids are refused, since they belong to another "
            "model's tokenizer",
            examples=[["when to plant tomatoes"]],
        ),
    ]
    model: Annotated[
        str, Meta(description="Id of the encoder as `/v1/models` tells it, or its part before `@`")
    ]
    encoding_format: Annotated[
        Literal["float", "base64"], Meta(description="Numbers, or base64 of little-endian float32")
    ] = "float"
    dimensions: Annotated[
        int | None,
        Meta(description="Length of the vectors: the full one, or a smaller one the model was trained for"),
    ] = None
    user: Annotated[str | None, Meta(description="Accepted and not used")] = None
    input_type: Annotated[
        Literal["query", "passage"] | None,
        Meta(
            description="Embed as a question or as a passage, with the prompt that the model was trained on"
        ),
    ] = None
    truncate: Annotated[
        Literal["none", "end", "start"],
        Meta(description="Which end of an over-long text is cut; none: such a text is an error"),
    ] = "none"

    @property
    def keep(self) -> Keep:
        """The end of an over-long text that stays."""
        return "end" if self.truncate == "start" else "start"


class EmbeddingItem(Struct, frozen=True):
    """One vector."""

    object: Literal["embedding"]
    embedding: Annotated[
        list[float] | bytes, Meta(description="A unit vector: numbers, or base64 of little-endian float32")
    ]
    index: Annotated[int, Meta(description="Place of its text in `input`")]


class EmbeddingUsage(Struct, frozen=True):
    """Tokens that the model read, its special tokens and the prompt included."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingReply(Struct, frozen=True):
    """Vectors in the order of the texts."""

    object: Literal["list"]
    data: list[EmbeddingItem]
    model: Annotated[
        str, Meta(description="The encoder's full id", examples=["all-MiniLM-L6-v2@c70e0e3a21ec"])
    ]
    usage: EmbeddingUsage
    truncated: Annotated[
        list[int] | UnsetType,
        Meta(description="Where `truncate` was asked for: the places of the texts that were cut"),
    ] = UNSET


class EncodedReply(Struct, frozen=True):
    """The same reply with `data` already in JSON."""

    object: Literal["list"]
    data: Raw
    model: str
    usage: EmbeddingUsage
    truncated: list[int] | UnsetType = UNSET


class ServedModel(Struct, frozen=True, kw_only=True):
    """A model in service. Everything after `owned_by` is an extension."""

    id: Annotated[str, Meta(examples=["all-MiniLM-L6-v2@c70e0e3a21ec"])]
    object: Literal["model"] = "model"
    created: Annotated[int, Meta(description="When its files were put on this machine, in Unix seconds")]
    owned_by: str
    kind: Annotated[
        Literal["encoder", "decoder", "collection"],
        Meta(description="A collection stands for the model that answers from it"),
    ]
    dimensions: Annotated[
        list[int] | UnsetType,
        Meta(description="Lengths of vectors that an encoder gives, the full one first"),
    ] = UNSET
    max_tokens: Annotated[
        int | UnsetType, Meta(description="Tokens that an encoder sees of a text, special tokens included")
    ] = UNSET


class ModelList(Struct, frozen=True):
    """The models in service."""

    object: Literal["list"]
    data: list[ServedModel]
