"""The reply that holds a map: columns, because thousands of points would repeat their names."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from app.services.map_fields import FieldValues, field_names
from app.services.mapping import CollectionMap, MapCluster

# A ten-thousandth of the plane's side: less than a pixel.
_DIGITS = 4


class PointColumns(Struct, frozen=True):
    """The points, one passage each: all lists are of the same length and in the same order."""

    x: Annotated[list[float], Meta(description="-1 to 1")]
    y: Annotated[list[float], Meta(description="-1 to 1, upwards")]
    document: Annotated[list[int], Meta(description="Place of its document in `documents`, from 0")]
    start: Annotated[list[int], Meta(description="First code point in the document version")]
    end: Annotated[list[int], Meta(description="One past the last code point")]
    cluster: Annotated[list[int], Meta(description="Place of its cluster in `clusters`, from 0")]
    line: Annotated[list[str], Meta(description="The passage's first line with words, cut")]


class DocumentColumns(Struct, frozen=True):
    """The documents that the points are of."""

    id: list[str]
    version: list[int]
    title: list[str | None]


class ClusterReply(Struct, frozen=True):
    """Passages that are about the same."""

    words: Annotated[list[str], Meta(description="Words that tell it from the others")]
    points: Annotated[int, Meta(description="How many points are of it")]
    typical: Annotated[list[int], Meta(description="Places of the points nearest its centre")]
    x: float
    y: float

    @classmethod
    def of(cls, found: MapCluster) -> "ClusterReply":
        """The reply for one cluster."""
        x, y = round(found.x, _DIGITS), round(found.y, _DIGITS)
        return cls(list(found.words), found.points, list(found.typical), x, y)


class FieldReply(Struct, frozen=True):
    """One metadata field of all documents."""

    field: str
    kind: Annotated[Literal["label", "number"], Meta(description="label: `of` holds places in `labels`")]
    labels: Annotated[list[str], Meta(description="The commonest values, the commonest first")]
    of: Annotated[
        list[float | None],
        Meta(description="For each document its value; -1: a label that is rarer; null: it has none"),
    ]

    @classmethod
    def of_values(cls, values: FieldValues) -> "FieldReply":
        """The reply for one field."""
        return cls(values.field, values.kind, list(values.labels), list(values.of))


class MapReply(Struct, frozen=True):
    """A collection's passages as points of a plane, near ones near."""

    release: Annotated[int, Meta(description="Number of the release that is shown")]
    passages: Annotated[int, Meta(description="Passages of the collection; the points are an even sample")]
    points: PointColumns
    clusters: Annotated[list[ClusterReply], Meta(description="The largest first")]
    documents: DocumentColumns
    fields: Annotated[list[str], Meta(description="Metadata fields that `field` may name")]
    values: Annotated[FieldReply | None, Meta(description="Of the field that was asked for")]

    @classmethod
    def of(cls, found: CollectionMap, values: FieldValues | None) -> "MapReply":
        """The reply for a map. values: of the field that was asked for."""
        return cls(
            found.release,
            found.passages,
            _points(found),
            [ClusterReply.of(each) for each in found.clusters],
            DocumentColumns(
                [each.id for each in found.documents],
                [each.version for each in found.documents],
                [each.title for each in found.documents],
            ),
            list(field_names(found.documents)),
            None if values is None else FieldReply.of_values(values),
        )


def _points(found: CollectionMap) -> PointColumns:
    points = found.points
    return PointColumns(
        [round(point.x, _DIGITS) for point in points],
        [round(point.y, _DIGITS) for point in points],
        [point.document for point in points],
        [point.start for point in points],
        [point.end for point in points],
        [point.cluster for point in points],
        [point.line for point in points],
    )
