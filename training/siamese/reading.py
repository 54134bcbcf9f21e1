"""Training examples out of uploaded files, folders in BEIR form, a collection's passages and its feedback."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from embeddings.errors import NotFound
from retrieval.benchmark import load_task
from training.siamese.columns import read_file
from training.siamese.tables import broken, read_table, text_fields
from training.siamese.texts import normalised
from training.siamese.types import Corpus, Origin, Pair, TrainingData, document_of

# Judged and found wrong: a few of them teach as much as a thousand.
_MAX_JUDGED_NEGATIVES = 8
# Of a search result: a thumb or an answer taken over says more than a click, which the position tempts to.
_WEIGHTS = {"click": 1, "thumbs_up": 2, "accepted": 2, "thumbs_down": -2}


def read_sources(sources: Sequence[str | Path]) -> TrainingData:
    """The examples of all sources together; each is a file or a folder in BEIR form.

    Files: .jsonl, .csv, .tsv (each also .gz) and .parquet. By their columns, in any case and order, they hold
      pairs     query|question|anchor and positive|passage|document|answer, the first that there is; with
                negative, negatives (a list, in CSV as JSON) or negative_1, negative_2 ... they are triplets;
      scored    sentence1, sentence2 (or a pair's columns without negatives) and score|similarity|label in
                numbers. A column whose numbers lie in 0..1 is taken as it is (0/1 labels, too); one that
                reaches beyond 1 is one of 0..5, as in STS, and divided by 5; anything else is refused;
      labelled  text and label.
    A column group or document_id tells what must stay together in a split; without it each passage is a
    group of its own.

    Folders: `FOLDER` takes the split train, else dev; `FOLDER:SPLIT` the named one. Judged documents of a
    grade above 0 are positives, the others of the same query negatives. Documents become the corpus, their
    ids behind the folder's path when there are several folders.

    Raises NotFound for what does not exist, UnsupportedFormat for other files, InvalidInput naming file, line
    and columns.
    """
    parts = [_split_source(source) for source in sources]
    folders = {path for path, _ in parts if path.is_dir()}
    data = TrainingData()
    for path, split in parts:
        prefix = f"{path}/" if len(folders) > 1 else ""
        data = _joined(data, _read_beir(path, split, prefix) if path.is_dir() else read_file(path))
    return data


def read_corpus(path: Path) -> Corpus:
    """Passages by their ids, title and text each, from lines of `{"_id", "title", "text"}`."""
    return {identity: text for identity, text, _ in _passages(path)}


def read_headings(path: Path) -> dict[str, str]:
    """The headings above each passage that has some, outermost first: "Setup / Windows / Proxy"."""
    return {identity: " / ".join(headings) for identity, _, headings in _passages(path) if headings}


def read_feedback(path: Path) -> tuple[Pair, ...]:
    """What searchers showed: a pair for each query and passage with more praise than blame.

    Lines of `{"query", "kind", "document_id", "passage"}`. A click counts 1, thumbs up and an accepted answer
    2, thumbs down -2; a sum below 0 makes the passage a negative of the same query's positives. A query that
    only ever got thumbs down teaches nothing. Raises InvalidInput naming the line.
    """
    sums: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    spelling: dict[str, str] = {}
    groups: dict[str, str] = {}
    for row in read_table(path):
        query, kind, document, passage = text_fields(path, row, ("query", "kind", "document_id", "passage"))
        if kind not in _WEIGHTS:
            raise broken(path, row.line, f"kind {kind!r}", ", ".join(_WEIGHTS))
        key = normalised(query)
        spelling.setdefault(key, query)
        groups.setdefault(passage, document)
        sums[key][passage] += _WEIGHTS[kind]
    return tuple(
        pair for key, votes in sums.items() for pair in _feedback_pairs(spelling[key], votes, groups)
    )


def _feedback_pairs(query: str, votes: dict[str, int], groups: dict[str, str]) -> Iterator[Pair]:
    negatives = tuple(passage for passage, votes_sum in votes.items() if votes_sum < 0)
    for passage, votes_sum in votes.items():
        if votes_sum > 0:
            yield Pair(query, passage, groups[passage], Origin.FEEDBACK, negatives)


def _split_source(source: str | Path) -> tuple[Path, str | None]:
    path = Path(source)
    if path.exists():
        return path, None
    name, colon, split = str(source).rpartition(":")
    if colon and Path(name).is_dir():
        return Path(name), split
    raise NotFound(
        f"there is no file or folder {source}",
        field="sources",
        found=str(source),
        expected="a file of examples, FOLDER or FOLDER:SPLIT",
        next_step="check the path",
    )


def _joined(one: TrainingData, other: TrainingData) -> TrainingData:
    return TrainingData(
        one.pairs + other.pairs,
        one.scored + other.scored,
        one.labelled + other.labelled,
        {**one.corpus, **other.corpus},
    )


def _read_beir(folder: Path, split: str | None, prefix: str) -> TrainingData:
    task = load_task(folder, split or _training_split(folder))
    pairs: list[Pair] = []
    for query_id, grades in task.qrels.items():
        if missing := grades.keys() - task.documents.keys():
            found = f"judgements of documents without text, such as {min(missing)!r}"
            raise broken(folder, None, found, "each judged document in the corpus")
        wrong = [task.documents[name] for name, grade in grades.items() if grade <= 0]
        pairs += [
            Pair(
                task.queries[query_id],
                task.documents[name],
                document_of(prefix + name),
                negatives=tuple(wrong[:_MAX_JUDGED_NEGATIVES]),
            )
            for name, grade in grades.items()
            if grade > 0
        ]
    return TrainingData(tuple(pairs), corpus={prefix + name: text for name, text in task.documents.items()})


def _training_split(folder: Path) -> str:
    for split in ("train", "dev"):
        if (folder / "qrels" / f"{split}.tsv").is_file():
            return split
    found = ", ".join(sorted(path.name for path in (folder / "qrels").glob("*.tsv")))
    raise broken(
        folder,
        None,
        f"qrels/ with {found or 'nothing'}",
        "qrels/train.tsv or qrels/dev.tsv, beside corpus.jsonl and queries.jsonl",
        "name another split as FOLDER:SPLIT, though not the one that you want to measure on",
    )


def _passages(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Id, title and text, headings."""
    for row in read_table(path):
        identity, text = text_fields(path, row, ("_id", "text"))
        headings = row.values.get("heading_path") or []
        yield identity, f"{row.values.get('title') or ''}\n{text}".strip(), [str(each) for each in headings]
