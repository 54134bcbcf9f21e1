"""What the models do with texts of no collection: vectors, labels, likeness, ranks."""

from collections.abc import Mapping, Sequence
from typing import Literal

from app.client.admin_replies import (
    Classification,
    Classifiers,
    Comparison,
    Embeddings,
    Models,
    Ranking,
)
from app.client.call import Call, given

ENCODER = "all-MiniLM-L6-v2"
Texts = str | Sequence[str]


def embed(
    texts: Texts,
    *,
    model: str = ENCODER,
    input_type: Literal["query", "passage"] | None = None,
    truncate: Literal["none", "end", "start"] | None = None,
    dimensions: int | None = None,
) -> Call[Embeddings]:
    """Unit vectors of texts. model: id of the encoder in service, the bundled one unless given.

    truncate: which end of an over-long text is cut; without it such a text is an error.
    """
    body = given(input=texts, model=model, input_type=input_type, truncate=truncate, dimensions=dimensions)
    return Call("POST", "/v1/embeddings", Embeddings, body=body)


def rerank(
    query: str, documents: Sequence[str], *, top_n: int | None = None, model: str | None = None
) -> Call[Ranking]:
    """Rank texts by what they matter for a query, best first."""
    body = given(query=query, documents=documents, top_n=top_n, model=model)
    return Call("POST", "/v2/rerank", Ranking, body=body)


def classify(
    inputs: Texts,
    *,
    classifier: str | None = None,
    examples: Sequence[Mapping[str, str]] | None = None,
    top: int | None = None,
) -> Call[Classification]:
    """Give texts labels, by a classifier or from examples `{"text", "label"}`; exactly one of the two."""
    body = given(inputs=inputs, classifier=classifier, examples=examples, top=top)
    return Call("POST", "/v1/classify", Classification, body=body)


def list_classifiers() -> Call[Classifiers]:
    """The classifiers that are there, by name."""
    return Call("GET", "/v1/classifiers", Classifiers)


def similarity(
    inputs: Texts,
    candidates: Texts | None = None,
    *,
    limit: int | None = None,
    min_score: float | None = None,
) -> Call[Comparison]:
    """Find texts that are alike.

    candidates: what to compare with; the inputs are compared with one another unless given.
    """
    body = given(inputs=inputs, candidates=candidates, limit=limit, min_score=min_score)
    return Call("POST", "/v1/similarity", Comparison, body=body)


def list_models() -> Call[Models]:
    """The models in service, the encoder first."""
    return Call("GET", "/v1/models", Models)
