"""Requests and replies for trainings."""

from typing import Annotated, Any

import msgspec
from litestar.datastructures import UploadFile
from msgspec import Meta, Struct

from app.services.training_types import Promotion, TrainingInput, TrainingReport


class TrainingRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A training of the collection's encoder. What is left out is chosen from the data."""

    name: Annotated[
        str | None, Meta(description="Name of the new model, under models/ in the data folder; a new one")
    ] = None
    promote: Annotated[
        Promotion,
        Meta(description="gate: a better model goes into service by itself; never: it waits for somebody"),
    ] = Promotion.NEVER
    dry_run: Annotated[
        bool, Meta(description="Train and judge only: no release is made, whatever comes out")
    ] = False
    plan: Annotated[
        dict[str, Any],
        Meta(
            description="What shall not be as usual, by the names of the guide's page on training",
            examples=[{"optimisation": {"epochs": 1}, "synthetic": {"passages": 500}}],
        ),
    ] = {}

    def to_input(self) -> TrainingInput:
        """The same for the service."""
        return TrainingInput(self.name, self.promote, self.dry_run, self.plan)


class TrainingForm(Struct, frozen=True, forbid_unknown_fields=True):
    """Examples to train on, as multipart/form-data."""

    file: Annotated[
        list[UploadFile],
        Meta(min_length=1, description="Examples as JSONL, CSV, TSV or Parquet; the field may be repeated"),
    ]
    request: Annotated[
        str | None,
        Meta(description="The same JSON object as without files", examples=['{"promote": "gate"}']),
    ] = None


class LossCurveReply(Struct, frozen=True):
    """What was measured while a stage trained: step, loss, and here and there the validation metric."""

    stage: str
    points: list[dict[str, Any]]


class TrainingReportReply(Struct, frozen=True):
    """What a training has told until now. report: null until it has judged."""

    plan: dict[str, Any]
    losses: list[LossCurveReply]
    report: dict[str, Any] | None

    @classmethod
    def of(cls, report: TrainingReport) -> "TrainingReportReply":
        """The wire form."""
        return msgspec.convert(report, cls, from_attributes=True)
