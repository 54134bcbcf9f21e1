"""What the service answers to administrators, and to those who only have texts."""

from datetime import datetime
from typing import Any

from msgspec import Struct

from app.client.job_replies import Job
from app.client.replies import FeedbackKind, ReleaseState


class Release(Struct, frozen=True):
    """A release of a collection.

    encoder: None, the one that the settings name; report: of its check; engine: what keeps its index.
    """

    number: int
    state: ReleaseState
    chunk_max_tokens: int
    chunk_overlap_tokens: int
    encoder: str | None
    model_id: str | None
    report: dict[str, Any] | None
    created_at: datetime
    promoted_at: datetime | None
    engine: str = "faiss"


class Releases(Struct, frozen=True):
    """The releases of a collection, the latest first."""

    releases: list[Release]


class Reindexing(Struct, frozen=True):
    """The release that is being made, and the job that makes it."""

    release: Release
    job: Job


class Pruned(Struct, frozen=True):
    """How many chunks, vectors of chunks that stay, and indexes on engines were reclaimed."""

    chunks: int
    vectors: int
    indexes: int = 0


class GoldenQuery(Struct, frozen=True):
    """A question whose right documents are known."""

    id: int
    query: str
    document_ids: list[str]


class GoldenQueries(Struct, frozen=True):
    """The golden queries of a collection, in the order of their making."""

    golden_queries: list[GoldenQuery]


class Feedback(Struct, frozen=True):
    """A verdict as it is kept. start, end: None for the document as a whole."""

    id: int
    query: str
    kind: FeedbackKind
    document_id: str
    version: int
    start: int | None
    end: int | None
    release: int
    created_at: datetime


class FeedbackList(Struct, frozen=True):
    """Verdicts, the oldest first. next: the value of `after` for the next page; None on the last."""

    feedback: list[Feedback]
    next: int | None


class LossCurve(Struct, frozen=True):
    """What was measured while a stage trained."""

    stage: str
    points: list[dict[str, Any]]


class TrainingReport(Struct, frozen=True):
    """What a training has told until now. report: None until it has judged."""

    plan: dict[str, Any]
    losses: list[LossCurve]
    report: dict[str, Any] | None


class Stats(Struct, frozen=True):
    """How the service does: sizes, jobs, storage, and queues since its start."""

    database_id: str
    collections: list[dict[str, Any]]
    jobs: dict[str, Any]
    storage: dict[str, int]
    logged_queries: int
    service: dict[str, Any] | None = None


class LabelProbability(Struct, frozen=True):
    """A label and how likely it is."""

    label: str
    probability: float


class Classified(Struct, frozen=True):
    """What a text is. index: its place among the inputs."""

    index: int
    label: str
    probability: float
    labels: list[LabelProbability]
    truncated: bool


class Classification(Struct, frozen=True):
    """The labels of the texts, in their order."""

    model: str
    results: list[Classified]


class Classifier(Struct, frozen=True):
    """A classifier that is there."""

    id: str
    name: str
    labels: list[str]
    source: str
    licence: str
    training: dict[str, Any]
    figures: dict[str, Any]


class Classifiers(Struct, frozen=True):
    """The classifiers, by name."""

    classifiers: list[Classifier]


class Match(Struct, frozen=True):
    """A text that is alike. index: its place among the candidates; score: cosine, -1 to 1."""

    index: int
    score: float


class Compared(Struct, frozen=True):
    """What is like one input, the most alike first."""

    index: int
    matches: list[Match]


class Comparison(Struct, frozen=True):
    """Matches of the inputs, in their order, and which texts the model saw only in part."""

    model: str
    results: list[Compared]
    truncated_inputs: list[int]
    truncated_candidates: list[int]


class Embedding(Struct, frozen=True):
    """One unit vector. index: the place of its text."""

    embedding: list[float]
    index: int


class Embeddings(Struct, frozen=True):
    """Vectors in the order of the texts. truncated: texts that were cut, where that was asked for."""

    data: list[Embedding]
    model: str
    truncated: list[int] = []

    @property
    def vectors(self) -> list[list[float]]:
        """The vectors alone."""
        return [each.embedding for each in self.data]


class Rank(Struct, frozen=True):
    """index: among the documents that were sent; relevance_score: 0 to 1."""

    index: int
    relevance_score: float


class Ranking(Struct, frozen=True):
    """Ranked texts, best first."""

    id: str
    model: str
    results: list[Rank]


class Model(Struct, frozen=True):
    """A model in service. kind: encoder, decoder or collection."""

    id: str
    created: int
    owned_by: str
    kind: str
    dimensions: list[int] = []
    max_tokens: int | None = None


class Models(Struct, frozen=True):
    """The models in service, the encoder first."""

    data: list[Model]
