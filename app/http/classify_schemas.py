"""Requests and replies of the text tasks: classification and similarity."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from app.services.classification import Classified, ClassifiedText
from embeddings.classifier import ClassifierManifest
from retrieval.grouping import Neighbour

Text = Annotated[str, Meta(description="The text", examples=["Where is my new card?"])]
Texts = Annotated[str | list[str], Meta(description="One text, or up to 2048")]


class LabelledExample(Struct, frozen=True, forbid_unknown_fields=True):
    """A text and the label it has."""

    text: Text
    label: Annotated[str, Meta(description="Its label", examples=["card_arrival"], min_length=1)]


class ClassifyRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Texts, and either the name of a classifier or examples of each label."""

    inputs: Texts
    classifier: Annotated[
        str | None,
        Meta(description="Name or id of one that `footnote train classifier` made", examples=["intents"]),
    ] = None
    examples: Annotated[
        list[LabelledExample] | None,
        Meta(description="In place of a classifier: a few texts of each label, up to 2048"),
    ] = None
    top: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="How many labels to give for each text, the likeliest first; null: all"),
    ] = 5


class LabelProbabilityReply(Struct, frozen=True):
    """A label and how likely it is."""

    label: str
    probability: Annotated[float, Meta(description="0 to 1; those of all labels add up to 1")]


class ClassifiedReply(Struct, frozen=True):
    """What a text is."""

    index: Annotated[int, Meta(description="Place of the text among the inputs, from 0")]
    label: Annotated[str, Meta(description="The likeliest label")]
    probability: float
    labels: Annotated[list[LabelProbabilityReply], Meta(description="The likeliest first")]
    truncated: Annotated[bool, Meta(description="The model saw only the beginning of the text")]

    @classmethod
    def of(cls, index: int, found: ClassifiedText) -> "ClassifiedReply":
        """The reply for one text."""
        labels = [LabelProbabilityReply(each.label, each.probability) for each in found.labels]
        return cls(index, labels[0].label, labels[0].probability, labels, found.truncated)


class ClassifyReply(Struct, frozen=True):
    """The labels of the texts, in their order."""

    model: Annotated[str, Meta(description="Id of the classifier; with examples, of the encoder")]
    results: list[ClassifiedReply]

    @classmethod
    def of(cls, found: Classified) -> "ClassifyReply":
        """The reply for what the service found."""
        return cls(found.model, [ClassifiedReply.of(index, each) for index, each in enumerate(found.texts)])


class ClassifierReply(Struct, frozen=True):
    """A classifier that is there."""

    id: str
    name: str
    labels: list[str]
    source: str
    licence: str
    training: Annotated[dict[str, Any], Meta(description="Data and settings")]
    figures: Annotated[dict[str, Any], Meta(description="Measured on texts that were not trained on")]

    @classmethod
    def of(cls, manifest: ClassifierManifest) -> "ClassifierReply":
        """The reply for one classifier."""
        return cls(
            manifest.classifier_id,
            manifest.name,
            list(manifest.labels),
            manifest.source,
            manifest.licence,
            manifest.training,
            manifest.figures,
        )


class ClassifierList(Struct, frozen=True):
    """The classifiers, by name."""

    classifiers: list[ClassifierReply]


class CompareRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Texts to compare, with others or among themselves."""

    inputs: Texts
    candidates: Annotated[
        str | list[str] | None,
        Meta(description="What to compare them with; null: with one another"),
    ] = None
    limit: Annotated[int, Meta(description="How many matches to give for each input", ge=1)] = 10
    min_score: Annotated[float, Meta(description="Leave out matches below it", ge=-1, le=1)] = -1.0


class MatchReply(Struct, frozen=True):
    """A text that is alike."""

    index: Annotated[int, Meta(description="Its place among the candidates, or the inputs, from 0")]
    score: Annotated[float, Meta(description="Cosine of the two vectors, -1 to 1")]


class ComparedReply(Struct, frozen=True):
    """What is like an input."""

    index: Annotated[int, Meta(description="Place of the input, from 0")]
    matches: Annotated[list[MatchReply], Meta(description="The most alike first")]


class CompareReply(Struct, frozen=True):
    """Matches of the inputs, in their order."""

    model: str
    results: list[ComparedReply]
    truncated_inputs: Annotated[
        list[int], Meta(description="Inputs of which the model saw only the beginning")
    ]
    truncated_candidates: list[int]

    @classmethod
    def of(
        cls, model: str, found: list[list[Neighbour]], inputs: list[bool], candidates: list[bool]
    ) -> "CompareReply":
        """The reply; inputs, candidates: whether each was cut."""
        results = [
            ComparedReply(index, [MatchReply(each.place, each.score) for each in matches])
            for index, matches in enumerate(found)
        ]
        return cls(model, results, _true(inputs), _true(candidates))


def _true(flags: list[bool]) -> list[int]:
    return [place for place, flag in enumerate(flags) if flag]
