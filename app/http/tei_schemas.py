"""Requests and replies of Text Embeddings Inference.

Source: huggingface/text-embeddings-inference 1.9, router/src/http/types.rs and router/src/lib.rs.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from app.http.embedding_input import TextInput

Truncate = Annotated[
    bool | None, Meta(description="Cut an over-long text instead of refusing it; false when left out")
]
Direction = Annotated[
    Literal["Left", "Right", "left", "right"], Meta(description="The end of an over-long text that is cut")
]
PromptName = Annotated[
    str | None, Meta(description="One of the model's prompts; query and passage are always known")
]


class EmbedRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Texts to embed."""

    inputs: Annotated[
        TextInput,
        Meta(
            description="A text, or up to 2048 texts; token ids are refused",
            examples=["What is Deep Learning?"],
        ),
    ]
    truncate: Truncate = None
    truncation_direction: Direction = "Right"
    prompt_name: PromptName = None
    normalize: Annotated[bool, Meta(description="Unit vectors")] = True
    dimensions: Annotated[
        int | None,
        Meta(description="Length of the vectors: the full one, or a smaller one the model was trained for"),
    ] = None


class SimilarityInput(Struct, frozen=True, forbid_unknown_fields=True):
    """One text and those to compare with it."""

    source_sentence: Annotated[str, Meta(description="Compared with each of the others")]
    sentences: Annotated[list[str], Meta(description="Up to 2047 texts")]


class SimilarityParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """How the texts are embedded."""

    truncate: Truncate = None
    truncation_direction: Direction = "Right"
    prompt_name: PromptName = None


class SimilarityRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Texts to compare."""

    inputs: Annotated[SimilarityInput, Meta(description="The texts")]
    parameters: Annotated[SimilarityParameters | None, Meta(description="How they are embedded")] = None


class EmbeddingModel(Struct, frozen=True):
    """pooling: what becomes of the states of a text's tokens."""

    pooling: str


class ModelType(Struct, frozen=True):
    """What the model makes."""

    embedding: EmbeddingModel


class Info(Struct, frozen=True, kw_only=True):
    """The encoder in service and its limits."""

    model_id: str
    model_sha: Annotated[str, Meta(description="SHA-256 of the weights")]
    model_dtype: Annotated[str, Meta(examples=["int8"])]
    served_model_name: str
    model_type: ModelType
    max_concurrent_requests: Annotated[
        int, Meta(description="Requests that are taken at a time; more are answered 429")
    ]
    max_input_length: Annotated[int, Meta(description="Tokens of a text, special tokens included")]
    max_batch_tokens: int
    max_batch_requests: int | None = None
    max_client_batch_size: Annotated[int, Meta(description="Texts of one request")]
    auto_truncate: Literal[False] = False
    tokenization_workers: int
    version: Annotated[str, Meta(description="Of Footnote")]
    sha: str | None = None
    docker_label: str | None = None
