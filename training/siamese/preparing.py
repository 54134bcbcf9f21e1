"""From sources to what a run trains and is judged on: read, written, cleaned and split once, then kept."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from embeddings.errors import InvalidInput
from training.siamese.cleaning import Removal, clean
from training.siamese.components import queries_in
from training.siamese.drafting import DraftPassages, draft_here
from training.siamese.folder import CORPUS, DATA, FEEDBACK
from training.siamese.keeping import kept
from training.siamese.plan import Synthetic, TrainingPlan
from training.siamese.progress import Show
from training.siamese.queries import write_queries
from training.siamese.reading import read_corpus, read_feedback, read_headings, read_sources
from training.siamese.splitting import Split, split, split_folds, without_leaks
from training.siamese.types import EncodeTexts, Pair, TrainingData

PREPARED = "examples.pickle"
# With too few examples of people's to be judged on: passages that get written queries.
DEFAULT_SYNTHETIC_PASSAGES = 2_000
# On SciFact 60 queries fell by a point while 216 others rose by one, and training stopped.
MIN_VALIDATION_QUERIES = 200
# Fewer held-out queries seldom prove a gain: of CoSQA's 500 labelled ones, 100 gave +0.5 points, at least
# -1.8. All of them, each judged by a training that has not seen it, narrow the interval by half.
FEW_JUDGED_QUERIES = 150
FOLDS = 3


@dataclass(frozen=True, slots=True)
class Prepared:
    """train, validation, held_out: by document apart. report: what was read, written, removed and why.

    folds: with cross-validation, what each training that is judged learns from and is judged on; `train` is
    then everything, and `held_out` all that is judged.
    """

    train: TrainingData
    validation: TrainingData
    held_out: TrainingData
    report: dict[str, Any]
    folds: tuple[Split, ...] = ()


def prepare(
    folder: Path, plan: TrainingPlan, encode: EncodeTexts, show: Show, draft: DraftPassages = draft_here
) -> Prepared:
    """The data of a run; made at the first call and read from the folder at the next.

    draft: writes queries' drafts, here or elsewhere. Raises InvalidInput when there is nothing to learn from.
    """
    return kept(folder / PREPARED, lambda: _prepare(folder, plan, encode, show, draft))


def _prepare(
    folder: Path, plan: TrainingPlan, encode: EncodeTexts, show: Show, draft: DraftPassages
) -> Prepared:
    data, headings = _read(folder, plan)
    written, writing = _write(data, headings, plan, encode, show, draft)
    show("examples cleaned", 0, len(data) + len(written.pairs))
    given, cleaning = clean(data, plan.cleaning, encode)
    synthetic, cleaning_written = clean(written, plan.cleaning, encode)
    report = {
        "read": _counts(data),
        "written": writing,
        "cleaning": {"given": asdict(cleaning), "written": asdict(cleaning_written)},
    }
    return _divide(given, synthetic, plan, encode, report)


def _read(folder: Path, plan: TrainingPlan) -> tuple[TrainingData, dict[str, str]]:
    uploaded = sorted((folder / DATA).glob("*")) if (folder / DATA).is_dir() else []
    data = read_sources([*plan.sources, *uploaded])
    headings: dict[str, str] = {}
    if (folder / CORPUS).is_file():
        data = replace(data, corpus={**data.corpus, **read_corpus(folder / CORPUS)})
        headings = read_headings(folder / CORPUS)
    if (folder / FEEDBACK).is_file():
        data = replace(data, pairs=(*data.pairs, *read_feedback(folder / FEEDBACK)))
    if not data and not data.corpus:
        raise InvalidInput(
            "there is nothing to learn from",
            field="sources",
            found="no examples, no documents",
            expected="files of examples, feedback, or a collection with documents",
            next_step="add documents to the collection, or give a file of pairs",
        )
    return data, headings


def _write(
    data: TrainingData,
    headings: dict[str, str],
    plan: TrainingPlan,
    encode: EncodeTexts,
    show: Show,
    draft: DraftPassages,
) -> tuple[TrainingData, Any]:
    wanted = _synthetic(data, plan)
    if not wanted.passages or not data.corpus:
        return TrainingData(corpus=data.corpus), None
    pairs, report = write_queries(data.corpus, headings, wanted, encode, show, draft)
    return TrainingData(pairs=tuple(pairs), corpus=data.corpus), report


def _synthetic(data: TrainingData, plan: TrainingPlan) -> Synthetic:
    """As planned; where people gave too few examples, queries are written in any case."""
    if plan.synthetic.passages or _enough(data, plan):
        return plan.synthetic
    passages = min(len(data.corpus), DEFAULT_SYNTHETIC_PASSAGES)
    return msgspec.structs.replace(plan.synthetic, passages=passages)


def _divide(
    given: TrainingData,
    synthetic: TrainingData,
    plan: TrainingPlan,
    encode: EncodeTexts,
    report: dict[str, Any],
) -> Prepared:
    """People's examples are held out where there are enough; written queries then only train."""
    judged, extra = given, synthetic.pairs
    if not _enough(given, plan):
        judged, extra = replace(given, pairs=(*given.pairs, *synthetic.pairs)), ()
    whole = replace(judged, pairs=(*judged.pairs, *extra))
    parts = split_folds(judged, _folds(judged, plan), plan.optimisation.seed)
    parts = parts or (split(judged, plan.held_out_share, plan.optimisation.seed),)
    near = plan.cleaning.near_duplicates
    cleaned = [without_leaks(_with(part, extra), encode, near) for part in parts]
    report["leaks"] = asdict(_together([leaked for _, leaked in cleaned]))
    report["apart"] = parts[-1].apart
    if len(parts) > 1:
        folds = tuple(fold for fold, _ in cleaned)
        return _prepared(whole, TrainingData(corpus=whole.corpus), judged, report, folds)
    outer = cleaned[0][0]
    inner = split(outer.train, _validation_share(outer.train, plan), plan.optimisation.seed + 1)
    return _prepared(inner.train, inner.held_out, outer.held_out, report)


def _prepared(
    train: TrainingData,
    validation: TrainingData,
    held_out: TrainingData,
    report: dict[str, Any],
    folds: tuple[Split, ...] = (),
) -> Prepared:
    parts = {"train": train, "validation": validation, "held_out": held_out}
    counts = {name: _counts(data) for name, data in parts.items()}
    return Prepared(train, validation, held_out, report | counts | {"folds": max(len(folds), 1)}, folds)


def _with(part: Split, extra: tuple[Pair, ...]) -> Split:
    """Also with written queries about documents of held-out ones: in service those are searched, too."""
    return replace(part, train=replace(part.train, pairs=(*part.train.pairs, *extra)))


def _together(leaks: Sequence[Removal]) -> Removal:
    found = next((leaked for leaked in leaks if leaked.count), leaks[0])
    return replace(found, count=sum(leaked.count for leaked in leaks))


def _folds(judged: TrainingData, plan: TrainingPlan) -> int:
    """As planned; else cross-validation where the held-out share would be few queries.

    Raises InvalidInput for folds of other examples than pairs: their parts are told apart by queries.
    """
    others = len(judged.scored) + len(judged.labelled)
    if others and (plan.folds or 1) > 1:
        raise InvalidInput(
            "cross-validation is for queries with their passages",
            field="folds",
            found=f"{plan.folds} folds, and {others} scored pairs or labelled texts",
            expected="1, or pairs and triplets only",
            next_step="leave folds out of the plan",
        )
    if plan.folds is not None or others:
        return plan.folds or 1
    few = queries_in(judged.pairs) * plan.held_out_share < FEW_JUDGED_QUERIES
    return FOLDS if few else 1


def _enough(data: TrainingData, plan: TrainingPlan) -> bool:
    """Whether the share that is held out is as much as the gate asks for."""
    queries = len({pair.query for pair in data.pairs}) + len(data.scored) + len(data.labelled)
    return queries * plan.held_out_share >= plan.gate.min_queries


def _validation_share(train: TrainingData, plan: TrainingPlan) -> float:
    """Nothing where it would be few queries: luck would choose the weights, and the queries teach more."""
    queries = len({pair.query for pair in train.pairs}) * plan.validation_share
    return plan.validation_share if queries >= MIN_VALIDATION_QUERIES else 0.0


def _counts(data: TrainingData) -> dict[str, int]:
    origins = [each.origin for shape in (data.pairs, data.scored, data.labelled) for each in shape]
    counts = Counter(origin.value for origin in origins)
    return {**counts, "passages": len(data.corpus)}
