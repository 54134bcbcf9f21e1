"""From sources to what a run trains and is judged on: read, written, cleaned and split once, then kept."""

from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from embeddings.errors import InvalidInput
from training.siamese.cleaning import clean
from training.siamese.folder import CORPUS, DATA, FEEDBACK
from training.siamese.keeping import kept
from training.siamese.plan import Synthetic, TrainingPlan
from training.siamese.progress import Show
from training.siamese.queries import write_queries
from training.siamese.reading import read_corpus, read_feedback, read_headings, read_sources
from training.siamese.splitting import split, without_leaks
from training.siamese.types import EncodeTexts, TrainingData

PREPARED = "prepared.pickle"
# With too few examples of people's to be judged on: passages that get written queries.
DEFAULT_SYNTHETIC_PASSAGES = 2_000
# On SciFact 60 queries fell by a point while 216 others rose by one, and training stopped.
MIN_VALIDATION_QUERIES = 200


@dataclass(frozen=True, slots=True)
class Prepared:
    """train, validation, held_out: by document apart. report: what was read, written, removed and why."""

    train: TrainingData
    validation: TrainingData
    held_out: TrainingData
    report: dict[str, Any]


def prepare(folder: Path, plan: TrainingPlan, encode: EncodeTexts, show: Show) -> Prepared:
    """The data of a run; made at the first call and read from the folder at the next.

    Raises InvalidInput when there is nothing to learn from.
    """
    return kept(folder / PREPARED, lambda: _prepare(folder, plan, encode, show))


def _prepare(folder: Path, plan: TrainingPlan, encode: EncodeTexts, show: Show) -> Prepared:
    data, headings = _read(folder, plan)
    written, writing = _write(data, headings, plan, encode, show)
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
    data: TrainingData, headings: dict[str, str], plan: TrainingPlan, encode: EncodeTexts, show: Show
) -> tuple[TrainingData, Any]:
    wanted = _synthetic(data, plan)
    if not wanted.passages or not data.corpus:
        return TrainingData(corpus=data.corpus), None
    pairs, report = write_queries(data.corpus, headings, wanted, encode, show)
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
    seed = plan.optimisation.seed
    together = replace(given, pairs=(*given.pairs, *synthetic.pairs))
    enough = _enough(given, plan)
    outer = split(given if enough else together, plan.held_out_share, seed)
    if enough and synthetic:
        # Also about documents of held-out questions: in service those are searched after training, too.
        train = replace(outer.train, pairs=(*outer.train.pairs, *synthetic.pairs))
        outer = replace(outer, train=train)
    outer, leaked = without_leaks(outer, encode, plan.cleaning.near_duplicates)
    inner = split(outer.train, _validation_share(outer.train, plan), seed + 1)
    report |= {
        "leaks": asdict(leaked),
        "apart": outer.apart,
        "train": _counts(inner.train),
        "validation": _counts(inner.held_out),
        "held_out": _counts(outer.held_out),
    }
    return Prepared(inner.train, inner.held_out, outer.held_out, report)


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
