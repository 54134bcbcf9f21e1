"""What a training run is to do: one JSON file with a default for every setting. Nothing here needs torch."""

from pathlib import Path
from typing import Annotated, Literal, Self

import msgspec

from embeddings.errors import InvalidInput
from training.siamese.folder import PLAN

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Rate = Annotated[float, msgspec.Meta(gt=0)]

OBJECTIVES = (
    "CosineSimilarity",
    "CoSENT",
    "AnglE",
    "Contrastive",
    "OnlineContrastive",
    "Triplet",
    "BatchAllTriplet",
    "BatchHardTriplet",
    "BatchHardSoftMarginTriplet",
    "BatchSemiHardTriplet",
    "MultipleNegativesRanking",
    "CachedMultipleNegativesRanking",
    "GIST",
    "MarginMSE",
)


class _Tricks(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `Optimisation` and `PlannedOptimisation` share."""

    epochs: Rate = 3.0
    max_steps: Positive | None = None
    accumulation: Positive = 1
    layer_decay: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.9
    warmup_share: Share = 0.1
    weight_decay: Annotated[float, msgspec.Meta(ge=0)] = 0.01
    clip_norm: Rate = 1.0
    length_grouped: bool = True
    precision: Literal["bf16", "fp32"] = "bf16"
    gradient_checkpointing: bool = False
    evaluations: Count = 4
    patience: Count = 2
    seed: int = 7


class Optimisation(_Tricks, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The training tricks.

    epochs: passes over the examples; max_steps: optimiser steps at most; batch_examples: examples of a batch
    (in-batch negatives grow with it); accumulation: batches of an optimiser step; learning_rate: peak, of the
    last layer; layer_decay: a layer's rate relative to the one above it (ELECTRA, Clark et al. 2020; 1: all
    alike); warmup_share: of the steps, linear, before a linear decay; max_tokens: of a text; patience:
    evaluations without a gain before training stops, 0: never; evaluations: of the validation queries, evenly
    spread over the run, fewer where they would take much of its time; averaged: weight of the trained weights
    in their mean with the original ones (WiSE-FT, Wortsman et al. 2022), below 1 against forgetting.
    """

    batch_examples: Positive = 64
    learning_rate: Rate = 2e-5
    max_tokens: Positive = 256
    averaged: Share = 1.0


# Written queries are many and each says little, so steps are short and many. They are not what people ask,
# either: on SciFact (1,800 abstracts) such a training lost 1.6 points, its mean with the old weights 0.3.
_OF_WRITTEN = Optimisation(batch_examples=32, learning_rate=5e-5, max_tokens=128, averaged=0.5)


class PlannedOptimisation(_Tricks, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`Optimisation` as a plan has it. None: 64, 2e-5, 256 and 1, or where most examples are written queries
    32, 5e-5, 128 and 0.5.
    """

    batch_examples: Positive | None = None
    learning_rate: Rate | None = None
    max_tokens: Positive | None = None
    averaged: Share | None = None

    def settled(self, *, written: bool) -> Optimisation:
        """What is None goes by whether most examples are written queries."""
        wanted = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        return msgspec.structs.replace(_OF_WRITTEN if written else Optimisation(), **wanted)


class Objective(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The loss. name: of `OBJECTIVES`, or "auto": by the shape of the data.

    margin: in the loss's distance; None: one that fits normalised vectors; scale: of cosines, for the ranking
    losses; matryoshka_dimensions: sizes that vectors shall also be good at when cut; teacher: folder of an
    encoder or, for MarginMSE, of a cross-encoder, whose scores guide GIST and MarginMSE; None: the base
    encoder's own cosines, for MarginMSE raised to `margin` where it is less sure than the labels are.
    """

    name: str = "auto"
    margin: float | None = None
    scale: Rate = 20.0
    matryoshka_dimensions: tuple[Positive, ...] = ()
    teacher: str | None = None


class Negatives(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hard negatives from the collection's own index.

    count: for each pair; None: 1, or 0 where most examples are written queries; rounds: how often they are
    mined, each time by the encoder as it is then; depth: passages looked at; relative_margin: a negative's
    cosine is at most this share below the positive's, so that a right answer that nobody marked is not pushed
    away (NV-Retriever, Moreira et al. 2024).
    """

    count: Count | None = None
    rounds: Positive = 1
    depth: Positive = 50
    relative_margin: Share = 0.05

    def settled(self, *, written: bool) -> Self:
        """With a count in any case, see `PlannedOptimisation.settled`."""
        count = (0 if written else 1) if self.count is None else self.count
        return msgspec.structs.replace(self, count=count)


class Synthetic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Queries written for passages that have none.

    passages: how many passages get some, drawn evenly, 0: none; per_passage: queries for each;
    sources: which may write them, tried together: the decoder, headings, first sentences; consistent_within:
    a query stays when a search for it finds its passage among so many (Promptagator, Dai et al. 2022);
    decoder: artifact folder; None: the bundled one.
    """

    passages: Count = 0
    per_passage: Positive = 2
    sources: tuple[Literal["decoder", "headings", "sentences"], ...] = ("decoder", "headings", "sentences")
    consistent_within: Positive = 3
    decoder: str | None = None


class Pretraining(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Domain-adaptive pre-training on the corpus before fine-tuning.

    masked_share: of the tokens (MLM) or deleted (TSDAE: 0.6 in the paper); whole_words: masks whole words.
    """

    kind: Literal["none", "mlm", "tsdae"] = "none"
    epochs: Rate = 1.0
    learning_rate: Rate = 5e-5
    masked_share: Share | None = None
    whole_words: bool = True
    batch_tokens: Positive = 4096


class Adapter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fewer trained parameters. kind: by peft's names; merged into the weights at export."""

    kind: Literal["none", "lora", "ia3"] = "none"
    rank: Positive = 16
    alpha: Positive = 32
    dropout: Share = 0.05


class Cleaning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is removed before training.

    near_duplicates: cosine from which two texts count as one; languages: ISO 639-1 codes that stay, empty:
    all; characters of a query and of a passage.
    """

    min_query_characters: Count = 3
    max_query_characters: Positive = 2000
    min_passage_characters: Count = 20
    near_duplicates: Share = 0.99
    languages: tuple[str, ...] = ()


class Gate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the new encoder is good enough, in points of nDCG@10 (0 to 100).

    min_gain: the lower bound of the gain on the domain has to be above it; max_general_loss: on every general
    set; confidence: of the one-sided bounds; min_queries: held-out queries below which nothing is promoted.
    """

    min_gain: float = 0.0
    max_general_loss: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    confidence: Annotated[float, msgspec.Meta(gt=0.5, lt=1)] = 0.95
    min_queries: Positive = 20


class TrainingPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A run.

    sources: files of examples and folders in BEIR form (`FOLDER` or `FOLDER:SPLIT`) beside what lies in the
    run's folder; general: sets on which nothing may be lost, beside the built-in one. base: folder of an
    encoder that sentence-transformers can open; None: all-MiniLM-L6-v2. in_service: artifact folder of the
    encoder to be compared with; None: the bundled one. layer_mixing: pool a learned mix of all layers (ELMo,
    Peters et al. 2018) instead of the last. held_out_share: of queries, by document; validation_share: of the
    rest. folds: so many trainings are judged, each on the part of the queries that it has not seen, and one
    more learns from all of them and is what comes out (cross-validation); 1: what learns from all but the
    held-out share is judged on that; None: 3 where that share is few queries. minutes: the run stops training
    in time for judgement, None: no limit. threads: of torch, None: all cores.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    sources: tuple[str, ...] = ()
    general: tuple[str, ...] = ()
    base: str | None = None
    in_service: str | None = None
    licence: str = "as the base model and the data allow"
    objective: Objective = Objective()
    optimisation: PlannedOptimisation = PlannedOptimisation()
    negatives: Negatives = Negatives()
    synthetic: Synthetic = Synthetic()
    pretraining: Pretraining = Pretraining()
    adapter: Adapter = Adapter()
    cleaning: Cleaning = Cleaning()
    gate: Gate = Gate()
    layer_mixing: bool = False
    held_out_share: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.2
    validation_share: Share = 0.1
    folds: Annotated[int, msgspec.Meta(ge=1, le=10)] | None = None
    minutes: Rate | None = 30.0
    threads: Positive | None = None

    def __post_init__(self) -> None:
        if self.objective.name not in ("auto", *OBJECTIVES):
            raise ValueError(
                f"unknown objective {self.objective.name!r}; expected auto or one of {OBJECTIVES}"
            )


def read_plan(folder: Path) -> TrainingPlan:
    """The plan of a run's folder. Raises InvalidInput naming what is wrong in it."""
    return parse_plan((folder / PLAN).read_bytes())


def parse_plan(data: bytes) -> TrainingPlan:
    """A plan from JSON. Raises InvalidInput."""
    try:
        return msgspec.json.decode(data, type=TrainingPlan)
    except msgspec.DecodeError as error:
        raise InvalidInput(
            f"the training plan is not valid: {error}", field="plan", found=str(error), expected="a plan"
        ) from None


def write_plan(folder: Path, plan: TrainingPlan) -> None:
    """Write the plan with all its settings, so that a report shows also the defaults."""
    (folder / PLAN).write_bytes(msgspec.json.format(msgspec.json.encode(plan), indent=2))
